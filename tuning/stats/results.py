"""One finished trial as selection sees it: plain numbers, whoever logged them."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from tuning.trial import HyperparameterValue, Status

Hyperparameters = tuple[tuple[str, HyperparameterValue], ...]
Setting = tuple[float | None, Hyperparameters]

SEARCH = "search"
CONFIRM = "confirm"


@dataclass(frozen=True)
class TrialResult:
    """One finished trial.

    Args:
        batch_size: Examples per optimizer update, at least 1.
        seed: The block of the comparison: trials of different batch sizes with one seed share initial weights and
            the order of the examples. Runs logged without a seed take the number of the repeat.
        status: How the trial ended.
        learning_rate: The one trained with; None if unknown or a schedule.
        objective: The score at the end of training, in the objective's own units; None if there is none.
        hyperparameters: The other settings, as sorted `(name, value)` pairs.
        examples_per_second: Training throughput that the trial itself measured.
        peak_memory_bytes: Peak device or resident memory.
        seconds: Training seconds, without compiling and without validation.
        examples_seen: Training examples consumed at each evaluation, strictly increasing.
        objective_curve: The objective at each of these evaluations.
        stage: What the trial was run for: "search" or "confirm". Where a batch size has trials of stage "confirm", it
            is judged by those alone, because the score that won a search is too good.
        reason: Why the trial did not complete; one line, for people.

    Raises:
        ValueError: If the batch size is below 1 or the two curves differ in length or order.
    """

    batch_size: int
    seed: int
    status: Status
    learning_rate: float | None = None
    objective: float | None = None
    hyperparameters: Hyperparameters = ()
    examples_per_second: float | None = None
    peak_memory_bytes: float | None = None
    seconds: float | None = None
    examples_seen: tuple[int, ...] = ()
    objective_curve: tuple[float, ...] = ()
    stage: str = SEARCH
    reason: str = ""

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1; got {self.batch_size}.")
        if len(self.examples_seen) != len(self.objective_curve):
            raise ValueError(
                f"examples_seen and objective_curve must have one value per evaluation; got "
                f"{len(self.examples_seen)} and {len(self.objective_curve)}."
            )
        if any(a >= b for a, b in zip(self.examples_seen, self.examples_seen[1:], strict=False)):
            raise ValueError(f"examples_seen must increase; got {self.examples_seen!r:.80}. Sort the curve.")

    @property
    def setting(self) -> Setting:
        """What seeds are repeats of: the learning rate and the other hyperparameters."""
        return self.learning_rate, self.hyperparameters

    @property
    def scored(self) -> bool:
        """Whether it completed with a finite objective, so that it can be compared."""
        return self.status is Status.COMPLETED and self.objective is not None and math.isfinite(self.objective)

    @property
    def outcome(self) -> Status:
        """How it ended; a trial that completed with a score that is no finite number has diverged."""
        return Status.DIVERGED if self.status is Status.COMPLETED and not self.scored else self.status


def mean_by_seed(pairs: Iterable[tuple[int, float | None]]) -> dict[int, float]:
    """Mean of the values of each seed, by seed ascending; None is skipped."""
    by_seed: dict[int, list[float]] = defaultdict(list)
    for seed, value in pairs:
        if value is not None:
            by_seed[seed].append(value)
    return {seed: statistics.fmean(values) for seed, values in sorted(by_seed.items())}


def count_by_status(results: Iterable[TrialResult]) -> dict[str, int]:
    """Number of trials by every value of `Status`, zeros included."""
    counts = {status.value: 0 for status in Status}
    for result in results:
        counts[result.status.value] += 1
    return counts
