"""The records that cross a process boundary: what is asked of a worker, and what it answers.

A *trial* is one training: one setting (batch size, learning rate, the model's other hyperparameters) with one
seed. Everything here is frozen, small and picklable, and imports nothing of TensorFlow.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

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

    def __post_init__(self) -> None:
        for name in ("batch_size", "epochs", "evaluation_batch_size"):
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


@dataclass(frozen=True)
class DescribeRequest:
    """Ask a worker what the build function builds, before any trial; answered by a `ModelDescription`, or by a
    `TrialOutcome` with status FAILED and this `trial_id` if it builds nothing usable.

    Args:
        trial_id: Names the request.
        hyperparameters: A `keras_tuner.HyperParameters.get_config()`: entries that the user declared or overrode.
        activate_all: Build repeatedly until every conditional scope has been entered once, as KerasTuner does.
    """

    trial_id: str
    hyperparameters: Mapping[str, Any]
    activate_all: bool = True


@dataclass(frozen=True)
class ModelDescription:
    """What the build function builds, learnt by building it and training it on a few examples.

    Args:
        trial_id: The `DescribeRequest` that this answers.
        hyperparameters: A `keras_tuner.HyperParameters.get_config()` with every entry that the builds declared.
        optimizer: Class name, without the loss-scaling wrapper of mixed precision.
        learning_rate: The compiled learning rate; None for a schedule.
        learning_rate_name: The entry of `hp` that sets it ("learning_rate" or "lr"), or None.
        metrics: Names that training logs, such as `loss` and `accuracy`; validation logs them as `val_` + name.
        parameters: Number of scalars in the weights.
        has_batch_normalization: Whether the batch size also changes what is normalised.
        tensor_bytes_per_example: What a training step could need for each example at most, workspaces of kernels aside;
            None where that cannot be told.
    """

    trial_id: str
    hyperparameters: Mapping[str, Any]
    optimizer: str
    learning_rate: float | None
    learning_rate_name: str | None
    metrics: tuple[str, ...]
    parameters: int
    has_batch_normalization: bool
    tensor_bytes_per_example: int | None = None

    @property
    def objectives(self) -> tuple[str, ...]:
        """Every name that may be an objective: the training metrics and the validation metrics."""
        return self.metrics + tuple(f"val_{name}" for name in self.metrics)


@dataclass(frozen=True)
class MemoryProbeRequest:
    """Ask a worker for the peak memory of training at one batch size: a few updates, optimizer slots included, and
    one validation. Answered by a `MemoryProbe`, or by a `TrialOutcome` that says why there is none.

    Args:
        trial_id: Names the request.
        batch_size: Examples per optimizer update, at least 1.
        loop: "keras", "device" or "xla".
        hyperparameters: Values for the build function's `hp`, by name.
        evaluation_batch_size: Examples per validation step.
        updates: Optimizer updates, at least 1; slots appear at the first.

    Raises:
        ValueError: If a number is out of its range.
    """

    trial_id: str
    batch_size: int
    loop: str = "keras"
    hyperparameters: Mapping[str, HyperparameterValue] = field(default_factory=dict)
    evaluation_batch_size: int = 256
    updates: int = 3

    def __post_init__(self) -> None:
        for name in ("batch_size", "evaluation_batch_size", "updates"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1; got {getattr(self, name)}.")


@dataclass(frozen=True)
class MemoryProbe:
    """The peak memory of training at one batch size.

    Args:
        trial_id: The `MemoryProbeRequest` that this answers.
        batch_size: Its batch size.
        peak_memory_bytes: Peak of device memory (GPU) or of the worker's resident memory (CPU), everything included.
        baseline_memory_bytes: What was in use before, with the data in place.
    """

    trial_id: str
    batch_size: int
    peak_memory_bytes: int
    baseline_memory_bytes: int


@dataclass(frozen=True)
class ThroughputRequest:
    """Ask a worker for the steady seconds of one optimizer update. Answered by a `Throughput`, or by a
    `TrialOutcome` that says why there is none.

    Args:
        trial_id: Names the request.
        batch_size: Examples per optimizer update, at least 1.
        loop: "auto", "keras", "device" or "xla".
        epochs: Of the training that "auto" chooses its loop for.
        hyperparameters: Values for the build function's `hp`, by name.
        evaluation_batch_size: Examples per validation step.
        chunks: How many to time.
        chunk_seconds: The least duration of one.
    """

    trial_id: str
    batch_size: int
    loop: str = "auto"
    epochs: int = 1
    hyperparameters: Mapping[str, HyperparameterValue] = field(default_factory=dict)
    evaluation_batch_size: int = 256
    chunks: int = 5
    chunk_seconds: float = 0.3


@dataclass(frozen=True)
class Throughput:
    """Steady seconds of one optimizer update, compiling and warm-up excluded.

    Args:
        trial_id: The `ThroughputRequest` that this answers.
        batch_size: Its batch size.
        loop: The loop that trained: "keras", "device" or "xla".
        seconds_per_update: Median of the timed chunks.
        input_seconds_per_update: What the input pipeline alone takes for a batch; None where the loop has none.
    """

    trial_id: str
    batch_size: int
    loop: str
    seconds_per_update: float
    input_seconds_per_update: float | None = None


@dataclass(frozen=True)
class NoiseScaleRequest:
    """Ask a worker for the gradient noise scale by training progress. Answered by a `NoiseScales`, or by a
    `TrialOutcome` that says why there is none.

    Args:
        trial_id: Names the request.
        batch_size: Of the training along which it is measured.
        updates: Of that training, at least 1.
        fractions: Of that training, ascending from 0 to 1, at which the weights are frozen and measured.
        examples: n, drawn without replacement for each measurement; all of them where there are fewer.
        micro_batch_size: b, the examples of one gradient.
        seed: Fixes the training and what is drawn.
        hyperparameters: Values for the build function's `hp`, by name.
        evaluation_batch_size: Examples per validation step.
        learning_rate: Of that training; None for the model's own.
    """

    trial_id: str
    batch_size: int
    updates: int
    fractions: tuple[float, ...] = (0.0, 0.25, 0.5, 1.0)
    examples: int = 4096
    micro_batch_size: int = 32
    seed: int = 0
    hyperparameters: Mapping[str, HyperparameterValue] = field(default_factory=dict)
    evaluation_batch_size: int = 256
    learning_rate: float | None = None


@dataclass(frozen=True)
class NoiseScalePoint:
    """The gradient noise scale of the weights at one moment of a training.

    Args:
        at_examples: Training examples seen until then.
        value: B_simple = tr(Sigma)/|G|^2 in examples; None if |G|^2 is not distinguishable from 0.
        low: Lower end of the 90 % interval; also known where `value` is not.
        high: Upper end; None where `value` is.
        trace_of_covariance: tr(Sigma), of one example's gradient.
        squared_gradient_norm: |G|^2; its unbiased estimate may be negative.
    """

    at_examples: int
    value: float | None
    low: float | None
    high: float | None
    trace_of_covariance: float
    squared_gradient_norm: float


@dataclass(frozen=True)
class NoiseScales:
    """The gradient noise scale by training progress.

    Args:
        trial_id: The `NoiseScaleRequest` that this answers.
        points: One per fraction, by examples seen.
    """

    trial_id: str
    points: tuple[NoiseScalePoint, ...]


Request = TrialRequest | DescribeRequest | MemoryProbeRequest | ThroughputRequest | NoiseScaleRequest
Answer = ModelDescription | MemoryProbe | Throughput | NoiseScales
Event = EpochReport | TrialOutcome | Answer
