"""The table of a recommendation: one row per batch size, and its cells as people read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tuning.stats.reasons import number

COLUMNS = ("batch", "rate", "seeds", "mean", "± se", "to target", "examples/s", "MiB", "mJ/ex", "verdict")
"""The seconds of training to the target, and millijoules per example, are columns only where any row tells them."""


@dataclass(frozen=True)
class TableRow:
    """One batch size at its best setting; None where unknown.

    Args:
        batch_size: The batch size.
        learning_rate: Its best learning rate.
        seeds: Completed trials at that setting, by different seeds.
        objective_mean: The mean final score over the seeds; adjusted for missing seeds.
        objective_se: The standard error of that mean, after the seeds' common effect is taken out.
        verdict: What decided for or against it, as `verdict_of` tells it.
        examples_per_second: Training throughput.
        peak_memory_bytes: The largest peak of its trials.
        seconds_to_target: The geometric mean over the seeds that reached it, raised by what misses cost.
        energy_joules: The median over its trials of the energy of a training.
        mean_watts: The median over its trials of the mean power.
        joules_per_example: The median over all trials of this batch size.
        missed: With a target: how many of the seeds missed it.
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
    energy_joules: float | None = None
    mean_watts: float | None = None
    joules_per_example: float | None = None
    missed: int | None = None

    @property
    def seeds_told(self) -> str:
        """The seeds as people read them: "3", or "2 of 3" where one of them missed the target."""
        return f"{self.seeds - self.missed} of {self.seeds}" if self.missed else str(self.seeds)


def columns_of(table: Sequence[TableRow]) -> tuple[str, ...]:
    """Return the names of the columns of a table; time and energy are among them where any row tells them."""
    told = {
        "to target": any(row.seconds_to_target is not None for row in table),
        "mJ/ex": any(row.joules_per_example is not None for row in table),
    }
    return tuple(name for name in COLUMNS if told.get(name, True))


def cells(row: TableRow, columns: Sequence[str] = COLUMNS) -> tuple[str, ...]:
    """Return the cells of one batch size, one for each of the columns, from `columns_of`; empty where unknown."""
    memory, energy, seconds = row.peak_memory_bytes, row.joules_per_example, row.seconds_to_target
    found = {
        "batch": str(row.batch_size),
        "rate": _number(row.learning_rate, ".3g"),
        "seeds": row.seeds_told,
        "mean": _number(row.objective_mean, ".4f"),
        "± se": _number(row.objective_se, ".4f"),
        "to target": "" if seconds is None else f"{number(seconds)} s",
        "examples/s": _number(row.examples_per_second, ",.0f"),
        "MiB": "" if memory is None else f"{memory / 2**20:,.0f}",
        "mJ/ex": "" if energy is None else number(1000 * energy, 2),
        "verdict": row.verdict.replace("learning rate", "rate"),  # 80 columns hold no more
    }
    return tuple(found[name] for name in columns)


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
