"""The tables of studies: a list of them, and two compared batch size by batch size."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from tuning.stats.table import TableRow


@dataclass(frozen=True)
class StudyLine:
    """A study in a list.

    Args:
        name: Its name.
        kind: How it was searched: "tune", "grid" or "bayes"; empty if it cannot be read.
        objective: The metric that decides.
        trials: Trials that have ended.
        running: Trials that run, or whose driver has died.
        recommended: The batch size that it recommends; None if it recommends none.
        learning_rate: Its learning rate there; None for the model's own.
        state: "running" while a driver of this machine runs it, "ended", or why it cannot be read.
        written: When it was last written, such as "2026-11-26 14:03".
    """

    name: str
    kind: str = ""
    objective: str = ""
    trials: int = 0
    running: int = 0
    recommended: int | None = None
    learning_rate: float | None = None
    state: str = "ended"
    written: str = ""


def list_table(lines: Sequence[StudyLine]) -> Table:
    """Return a table of studies, within 80 columns."""
    made = _table("study", "search", "objective", "trials", "batch", "written", "state", text=(0, 1, 2, 5, 6))
    for line in lines:
        size = "" if line.recommended is None else str(line.recommended)
        made.add_row(line.name, line.kind, line.objective, str(line.trials), size, line.written, line.state)
    return made


@dataclass(frozen=True)
class ComparedRow:
    """One batch size in two studies; None where one of them lacks it.

    Args:
        batch_size: The batch size.
        means: The mean of the objective in each.
        difference: The second mean less the first.
        error: The standard error of the difference, the two studies being independent.
        examples_per_second: The throughput in each.
    """

    batch_size: int
    means: tuple[float | None, float | None]
    difference: float | None
    error: float | None
    examples_per_second: tuple[float | None, float | None]


def compared(first: Sequence[TableRow], second: Sequence[TableRow]) -> list[ComparedRow]:
    """Return two recommendations' tables side by side, by batch size ascending."""
    tables = [{row.batch_size: row for row in rows} for rows in (first, second)]
    return [_compared(size, *(table.get(size) for table in tables)) for size in sorted({*tables[0], *tables[1]})]


def _compared(size: int, one: TableRow | None, other: TableRow | None) -> ComparedRow:
    means = _both(one, other, "objective_mean")
    errors = _both(one, other, "objective_se")
    return ComparedRow(
        size,
        means,
        difference=None if means[0] is None or means[1] is None else means[1] - means[0],
        error=None if errors[0] is None or errors[1] is None else math.hypot(errors[0], errors[1]),
        examples_per_second=_both(one, other, "examples_per_second"),
    )


def _both(one: TableRow | None, other: TableRow | None, name: str) -> tuple[float | None, float | None]:
    found = [None if row is None else getattr(row, name) for row in (one, other)]
    return found[0], found[1]


def comparison_table(rows: Sequence[ComparedRow], objective: str) -> Table:
    """Return a table of two studies, A and B, within 80 columns."""
    made = _table("batch", "A", "B", "B - A", "± se", "A ex/s", "B ex/s", "B / A")
    made.title, made.title_justify = f"{objective} and throughput", "left"
    for row in rows:
        speeds = row.examples_per_second
        ratio = None if speeds[0] is None or speeds[1] is None else speeds[1] / speeds[0]
        cells = [_number(row.means[0], ".4f"), _number(row.means[1], ".4f"), _number(row.difference, "+.4f")]
        cells += [_number(row.error, ".4f"), _number(speeds[0], ",.0f"), _number(speeds[1], ",.0f")]
        made.add_row(str(row.batch_size), *cells, _number(ratio, ".2f"))
    return made


def differing(first: Mapping[str, str], second: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return the settings in which two studies differ, with both values; empty text where one has none."""
    names = [name for name in {**first, **second} if first.get(name) != second.get(name)]
    return {name: (first.get(name, ""), second.get(name, "")) for name in names}


def _table(*columns: str, text: Sequence[int] = ()) -> Table:
    made = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for index, name in enumerate(columns):
        made.add_column(name, justify="left" if index in text else "right", overflow="fold")
    return made


def _number(value: Any, form: str) -> str:
    return "" if value is None else format(value, form)
