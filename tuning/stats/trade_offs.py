"""TradeOffs: which batch sizes no other one beats in everything that a user named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuning.objective import Objective
from tuning.stats.findings import pareto_front
from tuning.stats.reasons import listing
from tuning.stats.table import TableRow
from tuning.stats.verdicts import NOT_CONFIRMED
from tuning.trial import Status

MEASURES: Mapping[str, int] = {"seconds_to_target": 1, "peak_memory_bytes": 1, "examples_per_second": -1}
"""What may be named after the metric that decides; 1 where less is better, -1 where more is."""


_NO_OFFER = (Status.DIVERGED, Status.OUT_OF_MEMORY, Status.FAILED, Status.PRUNED, NOT_CONFIRMED)


@dataclass(frozen=True)
class TradeOffs:
    """The Pareto set of a search: its batch sizes, each at its best setting, that none beats in every objective.

    Args:
        objectives: The metric that decides, then names of `MEASURES`.
        rows: The efficient rows of the recommendation's table, ascending.
    """

    objectives: tuple[str, ...]
    rows: tuple[TableRow, ...]

    def values(self, row: TableRow) -> dict[str, float]:
        """Return a row's value of each objective."""
        metric, *measures = self.objectives
        return {metric: row.objective_mean or 0.0, **{name: float(getattr(row, name)) for name in measures}}

    def to_json(self) -> dict[str, Any]:
        """Return objectives and settings as plain JSON values."""
        settings = [
            {"batch_size": row.batch_size, "learning_rate": row.learning_rate, **self.values(row)} for row in self.rows
        ]
        return {"objectives": list(self.objectives), "settings": settings}

    def tell(self) -> str:
        """Return the trade-offs in one sentence."""
        names = listing(self.objectives)
        if not self.rows:
            hint = " Give a target (--target)." if "seconds_to_target" in self.objectives else ""
            return f"No batch size has a value of each of {names}, so that none can be traded off.{hint}"
        told = [f"{row.batch_size} ({', '.join(f'{v:.4g}' for v in self.values(row).values())})" for row in self.rows]
        return f"No batch size beats these in all of {names}: {listing(told)}."


def split_objectives(asked: Any) -> tuple[Any, tuple[str, ...]]:
    """Return the objective that decides, and the further ones, from "val_accuracy,seconds_to_target" or a list.

    Raises:
        TypeError: If the first is no objective.
        ValueError: If there is none, or a further one is not among `MEASURES`.
    """
    if isinstance(asked, str):
        asked = asked.split(",")
    if not isinstance(asked, list | tuple):
        asked = [asked]
    if not asked:
        raise ValueError("objective must name a metric; got an empty list. Leave it out for the default.")
    first, *others = [name.strip() if isinstance(name, str) else name for name in asked]
    if not (first is None or isinstance(first, str) or hasattr(first, "direction")):
        raise TypeError(f"objective must be a name, a keras_tuner.Objective or a list of them; got {first!r}.")
    for name in others:
        if name not in MEASURES:
            raise ValueError(f"A further objective must be one of {', '.join(MEASURES)}; got {name!r}.")
    return first, tuple(others)


def trade_offs(table: Sequence[TableRow], measures: Sequence[str], *, objective: Objective) -> TradeOffs:
    """Return the Pareto set over the rows that have a mean score and every measure.

    Left out are batch sizes that broke, and those whose only score is the search's, where others were confirmed.

    Args:
        table: The recommendation's table.
        measures: Further measures, names of `MEASURES`.
        objective: The metric that decides.
    """
    points = {
        row: (-objective.sign * row.objective_mean, *numbers)
        for row in table
        if row.objective_mean is not None
        and row.verdict not in _NO_OFFER
        and None not in (numbers := [_signed(row, name) for name in measures])
    }
    return TradeOffs((objective.name, *measures), tuple(pareto_front(points)))


def _signed(row: TableRow, name: str) -> float | None:
    value: float | None = getattr(row, name)
    return None if value is None else MEASURES[name] * value
