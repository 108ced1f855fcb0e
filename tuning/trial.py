"""The records of a trial that cross a process boundary: what is asked of a worker, and what it answers.

A *trial* is one training: one setting (batch size, learning rate, the model's other hyperparameters) with one
seed. Everything here is frozen, small and picklable, and imports nothing of TensorFlow.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

HyperparameterValue = int | float | str | bool | None


class Status(StrEnum):
    """How a trial ended."""

    COMPLETED = "completed"
    PRUNED = "pruned"
    OUT_OF_MEMORY = "out_of_memory"
    DIVERGED = "diverged"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Goal:
    """A score at which a training may end before its budget is spent.

    Args:
        metric: Its name, as Keras logs it.
        value: The score to reach.
        maximize: Whether larger is better.
        least_epochs: Train at least so long, whatever is reached.
    """

    metric: str
    value: float
    maximize: bool
    least_epochs: int = 1

    def is_reached(self, metrics: Mapping[str, float]) -> bool:
        """Whether an epoch's metrics reach it; a metric that is missing or NaN does not."""
        found = metrics.get(self.metric, math.nan)
        return found >= self.value if self.maximize else found <= self.value


@dataclass(frozen=True)
class TrialRequest:
    """One training to run.

    Args:
        trial_id: Names the trial in every report about it.
        batch_size: Examples per optimizer update, at least 1.
        seed: Fixes initial weights and the order of the examples; the same for every batch size compared.
        epochs: The budget: passes over the training set, so `epochs * n_train` examples for any batch size.
        learning_rate: Set on the model's optimizer, or handed to the build function if that asks its `hp` for it;
            None leaves the model's own, for example a schedule.
        hyperparameters: Values for the build function's `hp`, by name.
        loop: "auto", "keras", "device" or "xla".
        evaluation_batch_size: Examples per validation step, the same for every trial of a study.
        weights_path: Where the worker saves the final weights (`.weights.h5`), or None.
        micro_batch_size: Examples per gradient where a batch is too large for memory; divides `batch_size`, whose
            gradient is the mean of its micro-batches' gradients. None for whole batches.
        goal: Ends the training, completed, before the budget is spent; None trains for all of it.
        betas_at: The batch size at which the optimizer's decay constants (beta_2 and its kin) are right, from which
            they follow to this one; None leaves them alone.
        threads: Of the CPU that trains it; None for those of any worker. Ignored on a GPU and in-process.
        trainings: How many of this batch size the search plans; what "auto" chooses now serves them all.

    Raises:
        ValueError: If a number is out of its range.
    """

    trial_id: str
    batch_size: int
    seed: int
    epochs: int
    learning_rate: float | None = None
    hyperparameters: Mapping[str, HyperparameterValue] = field(default_factory=dict)
    loop: str = "auto"
    evaluation_batch_size: int = 256
    weights_path: str | None = None
    micro_batch_size: int | None = None
    goal: Goal | None = None
    betas_at: int | None = None
    threads: int | None = None
    trainings: int = 1

    def __post_init__(self) -> None:
        for name in ("batch_size", "epochs", "evaluation_batch_size", "trainings"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1; got {getattr(self, name)}.")
        if self.learning_rate is not None and not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be positive; got {self.learning_rate}.")
        micro = self.micro_batch_size
        if micro is not None and (micro < 1 or self.batch_size % micro):
            raise ValueError(f"micro_batch_size must divide the batch size {self.batch_size}; got {micro}.")

    @property
    def accumulation_steps(self) -> int:
        """Gradients per optimizer update."""
        return self.batch_size // (self.micro_batch_size or self.batch_size)


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
        compile_seconds: Tracing and compiling, and the choosing of a loop.
        examples_per_second: Steady training throughput, first steps excluded; None if there were too few steps.
        peak_memory_bytes: Peak device memory (GPU) or resident memory (CPU) during the trial.
        loop: The loop that trained: "keras", "device" or "xla"; empty if none did.
        measurements: Further numbers, logged once as metrics.
        settings: Further values, logged as parameters.
        exit_code: How its worker died, -n for signal n; None if it lived.
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
