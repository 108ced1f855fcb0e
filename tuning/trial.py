"""Trial: one training, from plan to pick, and what it tells.

A *trial* is one training: one setting (batch size, learning rate, the model's other hyperparameters) with one seed.
Everything here is frozen, small and picklable, crosses processes as it is, and imports nothing of TensorFlow.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from search_spaces.space import Setting, as_pairs
from tuning.instructions import Budget, Instructions

HyperparameterValue = int | float | str | bool | None
Hyperparameters = tuple[tuple[str, HyperparameterValue], ...]
Recipe = tuple[float | None, Hyperparameters]
"""A setting without its batch size: the learning rate and the other hyperparameters."""

REFERENCE, SEARCH, CONFIRM = "reference", "search", "confirm"
"""What a trial is run for. Where a batch size has trials of stage "confirm", it is judged by those alone."""

MOST_LOSSES = 3
"""A trial that was lost runs again so often; one that is lost once more has failed."""


class Status(StrEnum):
    """How a trial ended. The first five are what the training itself did; of the last two it knew nothing."""

    COMPLETED = "completed"
    PRUNED = "pruned"
    OUT_OF_MEMORY = "out_of_memory"
    DIVERGED = "diverged"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    """The driver ended before the trial did; it runs again."""
    LOST = "lost"
    """The worker, its node or its power went away, or something outside killed it; it runs again a few times."""


@dataclass(frozen=True)
class EpochReport:
    """What one epoch of a trial measured.

    Args:
        trial_id: The trial.
        epoch: Completed epochs, from 1.
        examples_seen: Training examples consumed so far.
        updates: Optimizer updates so far.
        metrics: What Keras logged for this epoch: `loss`, `val_loss`, the model's metrics.
        seconds: Training seconds so far, without compiling and without validation.
    """

    trial_id: str
    epoch: int
    examples_seen: int
    updates: int
    metrics: Mapping[str, float]
    seconds: float


@dataclass(frozen=True)
class TrialOutcome:
    """How a trial ended and what it measured as a whole. A failure is data: status, reason, log tail.

    Args:
        trial_id: The trial.
        status: How it ended.
        reason: One line for people; empty when it completed.
        log_tail: The last lines of the worker's log, when it failed.
        seconds: Training seconds, without compiling and without validation.
        compile_seconds: Seconds of tracing and compiling, and of choosing a loop.
        examples_per_second: Steady training throughput, first steps excluded; None if there were too few steps.
        peak_memory_bytes: Peak device memory (GPU) or resident memory (CPU) during the trial.
        loop: The loop that trained: "keras", "device" or "xla"; empty if none did.
        measurements: Further numbers, logged once as metrics.
        settings: Further values, logged as parameters.
        exit_code: How its worker died, -n for signal n; None if it lived.
        weights_epoch: The epoch, from 1, whose weights the model ended with, where `EarlyStopping` restored them; None
            for the last one.
        energy_joules: Energy of the training seconds, of the whole card or processor, idle power included; None if
            unknown.
        mean_watts: The mean power in them.
        joules_per_example: Energy of one training example.
        energy_note: Why its energy is unknown, as a clause in plain words; empty if it is known or nobody asked.
    """

    trial_id: str
    status: Status
    reason: str = ""
    log_tail: str = ""
    seconds: float | None = None
    compile_seconds: float | None = None
    examples_per_second: float | None = None
    peak_memory_bytes: int | None = None
    loop: str = ""
    measurements: Mapping[str, float] = field(default_factory=dict)
    settings: Mapping[str, HyperparameterValue] = field(default_factory=dict)
    exit_code: int | None = None
    weights_epoch: int | None = None
    energy_joules: float | None = None
    mean_watts: float | None = None
    joules_per_example: float | None = None
    energy_note: str = ""

    @property
    def has_crashed(self) -> bool:
        """Whether its worker died of a signal, such as a segmentation fault."""
        return self.exit_code is not None and self.exit_code < 0


@dataclass(frozen=True)
class Trial:
    """One training, from plan to pick: a plan makes it, a worker trains it, the study keeps it, statistics judge it.

    Args:
        setting: Batch size, learning rate (None leaves the model's own, for example a schedule), hyperparameters.
        seed: Fixes initial weights and the order of the examples. Trials of different batch sizes with one seed are
            pairs: they share both. Runs that were logged without a seed take the number of the repeat.
        stage: What it is run for: "reference", "search" or "confirm".
        budget: How long it may train.
        trial_id: Names it in every report about it; empty before a study has started it.
        instructions: How a worker is to train it.
        reports: What its epochs measured so far.
        outcome: How it ended; None before it has.
        score: The objective at the end of training; None if it did not complete.

    Raises:
        ValueError: If the batch size or the micro-batch is out of range, or the reports do not go forward.
    """

    setting: Setting
    seed: int
    stage: str = SEARCH
    budget: Budget = field(default_factory=Budget)
    trial_id: str = ""
    instructions: Instructions = field(default_factory=Instructions)
    reports: tuple[EpochReport, ...] = ()
    outcome: TrialOutcome | None = None
    score: float | None = None

    def __post_init__(self) -> None:
        size, micro = self.setting.batch_size, self.instructions.micro_batch_size
        if size < 1:
            raise ValueError(f"batch_size must be at least 1; got {size}.")
        if self.setting.learning_rate is not None and not self.setting.learning_rate > 0:
            raise ValueError(f"learning_rate must be positive; got {self.setting.learning_rate}.")
        if micro is not None and size % micro:
            raise ValueError(f"micro_batch_size must divide the batch size {size}; got {micro}.")
        seen = [report.examples_seen for report in self.reports]
        if any(later <= earlier for earlier, later in itertools.pairwise(seen)):
            raise ValueError(f"The examples seen must increase from report to report; got {seen!r:.80}.")

    @property
    def batch_size(self) -> int:
        """Examples per optimizer update."""
        return self.setting.batch_size

    @property
    def learning_rate(self) -> float | None:
        """The learning rate it trains with; None for the model's own."""
        return self.setting.learning_rate

    @property
    def hyperparameters(self) -> Hyperparameters:
        """The model's other hyperparameters, as sorted (name, value) pairs."""
        return self.setting.hyperparameters

    @property
    def recipe(self) -> Recipe:
        """What seeds are repeats of at one batch size: the learning rate and the other hyperparameters."""
        return self.setting.learning_rate, self.setting.hyperparameters

    @property
    def key(self) -> tuple[Setting, int, str]:
        """What makes two trials the same training."""
        return self.setting, self.seed, self.stage

    @property
    def epochs_before(self) -> int:
        """Epochs of the training that this one goes on with; 0 for one from the beginning."""
        return self.reports[-1].epoch if self.instructions.continues and self.reports else 0

    @property
    def accumulation_steps(self) -> int:
        """Gradients per optimizer update."""
        return self.batch_size // (self.instructions.micro_batch_size or self.batch_size)

    @property
    def values(self) -> dict[str, Any]:
        """The setting by name, as KerasTuner's `HyperParameters.values` holds it."""
        values = {**dict(self.hyperparameters), "batch_size": self.batch_size}
        return values if self.learning_rate is None else {**values, "learning_rate": self.learning_rate}

    @property
    def status(self) -> Status | None:
        """How it ended; None before it has."""
        return None if self.outcome is None else self.outcome.status

    @property
    def is_settled(self) -> bool:
        """Whether it runs or has ended for good; one that was interrupted or lost runs again."""
        return self.status not in (Status.INTERRUPTED, Status.LOST)

    @property
    def scored(self) -> bool:
        """Whether it completed with a finite score, so that it can be compared."""
        return self.status is Status.COMPLETED and self.score is not None and math.isfinite(self.score)

    @property
    def judged_status(self) -> Status | None:
        """How it ended; one that completed with a score that is no finite number has diverged."""
        return Status.DIVERGED if self.status is Status.COMPLETED and not self.scored else self.status

    @property
    def reason(self) -> str:
        """Why it did not complete; one line, for people."""
        return "" if self.outcome is None else self.outcome.reason

    @property
    def examples_per_second(self) -> float | None:
        """The training throughput that it measured itself."""
        return None if self.outcome is None else self.outcome.examples_per_second

    @property
    def peak_memory_bytes(self) -> int | None:
        """Its peak of device or resident memory."""
        return None if self.outcome is None else self.outcome.peak_memory_bytes

    @property
    def seconds(self) -> float | None:
        """Its training seconds, without compiling and without validation."""
        return None if self.outcome is None else self.outcome.seconds

    @property
    def examples_seen(self) -> int:
        """Training examples consumed until its last report; 0 before the first."""
        return self.reports[-1].examples_seen if self.reports else 0

    def curve(self, metric: str) -> tuple[tuple[int, ...], tuple[float, ...]]:
        """Return the examples seen at each evaluation of a metric, increasing, and its values there."""
        points = [(report.examples_seen, report.metrics[metric]) for report in self.reports if metric in report.metrics]
        return tuple(seen for seen, _ in points), tuple(value for _, value in points)


def finished_trial(
    batch_size: int,
    seed: int,
    score: float | None,
    *,
    status: Status = Status.COMPLETED,
    learning_rate: float | None = None,
    hyperparameters: Mapping[str, HyperparameterValue] | None = None,
    stage: str = SEARCH,
    metric: str = "val_accuracy",
    curve: Sequence[tuple[int, float]] = (),
    losses: Mapping[int, Mapping[str, float]] | None = None,
    epochs: int | None = None,
    trial_id: str = "",
    **measured: Any,
) -> Trial:
    """Return a trial that has ended, from plain numbers, whoever logged them.

    Args:
        batch_size: Examples per optimizer update.
        seed: The seed, or the number of the repeat.
        score: The objective at the end of training; None if there is none.
        status: How it ended.
        learning_rate: None if unknown or a schedule.
        hyperparameters: The other settings, by name.
        stage: What it was run for.
        metric: The objective's name, under which `curve` is kept.
        curve: Examples seen and the metric at each evaluation, in order.
        losses: Further metrics of these evaluations, such as `loss` and `val_loss`, by examples seen.
        epochs: The epochs of its budget; None for as many as there are evaluations.
        trial_id: Its name, if it has one.
        measured: Fields of `TrialOutcome`, such as `examples_per_second`, `peak_memory_bytes`, `seconds`, `reason`.
    """
    reports = [
        EpochReport(trial_id, epoch, seen, seen // batch_size, {**(losses or {}).get(seen, {}), metric: value}, 0.0)
        for epoch, (seen, value) in enumerate(curve, start=1)
    ]
    return Trial(
        Setting(batch_size, learning_rate, as_pairs(dict(hyperparameters or {}))),
        seed,
        stage,
        Budget(max(1, len(reports)) if epochs is None else epochs),
        trial_id,
        reports=tuple(reports),
        outcome=TrialOutcome(trial_id, status, **measured),
        score=score,
    )
