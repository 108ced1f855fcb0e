"""The table of a recommendation as text: the same cells for terminals, Markdown and notebooks."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tuning.selection.recommendation import TableRow

COLUMNS = ("batch", "rate", "seeds", "mean", "± se", "examples/s", "MiB", "verdict")


def cells(row: TableRow) -> tuple[str, ...]:
    """One batch size, a cell for each of `COLUMNS`; empty where unknown."""
    memory = row.peak_memory_bytes
    return (
        str(row.batch_size),
        _number(row.learning_rate, ".3g"),
        str(row.seeds),
        _number(row.objective_mean, ".4f"),
        _number(row.objective_se, ".4f"),
        _number(row.examples_per_second, ",.0f"),
        "" if memory is None else f"{memory / 2**20:,.0f}",
        row.verdict,
    )


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
