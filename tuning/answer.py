"""The answer of a search in the three forms people and programs take it: a table, Markdown, and JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from tuning.searching.training_advice import TrainingAdvice
from tuning.selection.recommendation import Recommendation
from tuning.selection.table import COLUMNS, cells
from tuning.selection.trade_offs import TradeOffs


@dataclass(frozen=True)
class Answer:
    """A recommendation and where its trials are.

    Args:
        recommendation: What to train with.
        study: Name of the search.
        tracking_uri: MLflow's store; empty if nothing was tracked.
        experiment_id: The study's experiment there.
        advice: How to train the final model, where that was measured.
        trade_offs: The Pareto set, where several objectives were asked for.
    """

    recommendation: Recommendation
    study: str
    tracking_uri: str
    experiment_id: str
    advice: TrainingAdvice | None = None
    trade_offs: TradeOffs | None = None

    def to_json(self) -> dict[str, Any]:
        """One object of plain JSON values; null where something is unknown."""
        found = self.recommendation.to_json()
        del found["comparison"]  # means and errors are in the table
        first = {
            "study": self.study,
            "tracking_uri": self.tracking_uri,
            "experiment_id": self.experiment_id,
            "rule": found.pop("rule"),
            "recommended_batch_size": found.pop("batch_size"),
        }
        training = None if self.advice is None else self.advice.to_json()
        pareto = {} if self.trade_offs is None else {"pareto": self.trade_offs.to_json()}
        return {**first, **found, "training": training, **pareto}

    def to_markdown(self) -> str:
        """Reasons, caveats and table, for MLflow's experiment page."""
        found = self.recommendation
        first, *rest = found.reasons
        lines = [f"## {first}", "", " ".join([*rest, *self._advice()]), ""]
        lines += [f"- ⚠ {caveat}" for caveat in found.caveats] + [""]
        lines += ["| " + " | ".join(COLUMNS) + " |", "|" + " ---: |" * (len(COLUMNS) - 1) + " :--- |"]
        lines += ["| " + " | ".join(cells(row)) + " |" for row in found.table]
        return "\n".join(lines) + "\n"

    def show(self, console: Console) -> None:
        """Print the table, the reasons and the caveats, within 80 columns."""
        found = self.recommendation
        table = Table(
            box=SIMPLE_HEAD,
            pad_edge=False,
            padding=0,
            title=f"{found.objective} by batch size",
            title_justify="left",
        )
        for name in COLUMNS:
            table.add_column(name, justify="left" if name == "verdict" else "right", no_wrap=True)
        for row in found.table:
            table.add_row(*cells(row), style="bold green" if row.verdict == "recommended" else None)
        console.print(table)
        if self.trade_offs is not None:
            console.print(pareto_table(self.trade_offs))
        first, *rest = found.reasons
        console.print(first, style="bold green", highlight=False)
        console.print(" ".join([*rest, *self._advice()]), highlight=False)
        for caveat in found.caveats:
            console.print(f"! {caveat}", style="yellow", highlight=False)

    def _repr_html_(self) -> str:
        """The answer with its figures, for notebooks."""
        from tuning.selection.notebook import to_html  # draws, which takes a second to load

        return to_html(self.recommendation, self._advice())

    def _advice(self) -> list[str]:
        told = [] if self.advice is None else [self.advice.tell()]
        return told if self.trade_offs is None else [*told, self.trade_offs.tell()]


def pareto_table(found: TradeOffs) -> Table:
    """The batch sizes of a Pareto set, with their value of each objective."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=0, title="not beaten in everything", title_justify="left")
    for name in ("batch", "rate", *found.objectives):
        table.add_column(name, justify="right", no_wrap=True)
    for row in found.rows:
        rate = "" if row.learning_rate is None else f"{row.learning_rate:.3g}"
        table.add_row(str(row.batch_size), rate, *(f"{value:.4g}" for value in found.values(row).values()))
    return table
