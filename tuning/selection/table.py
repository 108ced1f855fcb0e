"""The table of a recommendation: a row per batch size, and its cells for terminals, Markdown and notebooks."""

from __future__ import annotations

from dataclasses import dataclass

COLUMNS = ("batch", "rate", "seeds", "mean", "± se", "examples/s", "MiB", "verdict")


@dataclass(frozen=True)
class TableRow:
    """One batch size at its best setting; None where unknown.

    Args:
        batch_size: The batch size.
        learning_rate: Its best one.
        seeds: Completed trials at that setting, by different seeds.
        objective_mean: Mean final score over the seeds; adjusted for missing seeds.
        objective_se: Standard error of that mean, after the seeds' common effect is taken out.
        verdict: recommended, tied, worse, learning rate at edge, not reached, not confirmed, pruned, diverged,
            out_of_memory or failed.
        examples_per_second: Training throughput.
        peak_memory_bytes: The largest of its trials.
        seconds_to_target: Geometric mean over the seeds.
    """

    batch_size: int
    learning_rate: float | None
    seeds: int
    objective_mean: float | None
    objective_se: float | None
    verdict: str
    examples_per_second: float | None
    peak_memory_bytes: float | None
    seconds_to_target: float | None


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
