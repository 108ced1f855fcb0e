"""What passes between a driver and its workers: questions apart from any trial, answers, and what was measured.

As in `trial`, everything is frozen, small and picklable, and imports nothing of TensorFlow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from search_spaces.entry import Entry
from tuning.noise_messages import Branches, BranchRequest, NoiseScaleRequest, NoiseScales
from tuning.trial import EpochReport, HyperparameterValue, TrialOutcome


@dataclass(frozen=True)
class DescribeRequest:
    """Ask a worker what the build function builds, before any trial; answered by a `ModelDescription`, or by a
    `TrialOutcome` with status FAILED and this `trial_id` if it builds nothing usable.

    Args:
        trial_id: Names the request.
        hyperparameters: A `keras_tuner.HyperParameters.get_config()`: entries that the user declared or overrode.
    """

    trial_id: str
    hyperparameters: Mapping[str, Any]


INPUT_SECONDS = "input_seconds_per_update"
"""The measurement of a trial: what the pipeline that loads its examples takes alone for those of one gradient."""


@dataclass(frozen=True)
class ModelDescription:
    """What the build function builds, learnt by building it and training it on a few examples.

    Args:
        trial_id: The `DescribeRequest` that this answers.
        entries: Every hyperparameter that was declared before or by the builds, parents before children.
        optimizer: Class name, without the loss-scaling wrapper of mixed precision.
        learning_rate: The compiled learning rate, of a schedule of Keras its highest; None for any other schedule.
        learning_rate_name: The entry of `hp` that sets it ("learning_rate" or "lr"), or None.
        metrics: Names that training logs, such as `loss` and `accuracy`; validation logs them as `val_` + name.
        parameters: Number of scalars in the weights.
        has_batch_normalization: Whether the batch size also changes what is normalised.
        tensor_bytes_per_example: What a training step could need for each example at most, workspaces of kernels aside;
            None where that cannot be told.
        optimizer_kind: The nearest class of the optimizer that is Keras's own, which tells what it does.
        schedule: Class name of the learning-rate schedule; empty if there is none.
        schedule_updates: How many updates the schedule lasts; None if it has no end, or that is not known.
        weight_decay: The decoupled weight decay; None if there is none.
        tells_batch_size: Whether the build function takes the batch size from `hp`, so that its schedule is its own.
        starts_by_seed: Whether another seed gives other initial weights.
        has_own_loop: Whether a `HyperModel.fit` trains by a loop of its own, which nobody drives.
        input_shape: The shape of the first input, the batch dimension open.
        python_load: Why Python makes the examples of their keys; empty where TensorFlow does, or none are made.
        normalizes_by_card: Whether batch normalisation sees the examples of one card alone where several share a batch.
        clips_gradients: Whether the optimizer clips gradients.
    """

    trial_id: str
    entries: tuple[Entry, ...]
    optimizer: str
    learning_rate: float | None
    learning_rate_name: str | None
    metrics: tuple[str, ...]
    parameters: int
    has_batch_normalization: bool
    tensor_bytes_per_example: int | None = None
    optimizer_kind: str = ""
    schedule: str = ""
    schedule_updates: float | None = None
    weight_decay: float | None = None
    tells_batch_size: bool = False
    starts_by_seed: bool = True
    has_own_loop: bool = False
    input_shape: tuple[int | None, ...] = ()
    python_load: str = ""
    normalizes_by_card: bool = False
    clips_gradients: bool = False

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
        first_peak_memory_bytes: Peak of the first update on a GPU, in which cuDNN tries its algorithms and may take
            gigabytes for that; the other peak is that of the updates after it. None on a CPU.
    """

    trial_id: str
    batch_size: int
    peak_memory_bytes: int
    baseline_memory_bytes: int
    first_peak_memory_bytes: int | None = None


MOST_OF_OTHERS = 0.05
"""The share of a machine's processor time up to which others leave a timing alone."""


@dataclass(frozen=True)
class ThroughputRequest:
    """Ask a worker for the steady seconds of one optimizer update. Answered by a `Throughput`, or by a
    `TrialOutcome` that says why there is none. A timing that others disturb is repeated, at most twice.

    Args:
        trial_id: Names the request.
        batch_size: Examples per optimizer update, at least 1.
        loop: "auto", "keras", "device" or "xla".
        epochs: The epochs of the training that "auto" chooses its loop for.
        hyperparameters: Values for the build function's `hp`, by name.
        evaluation_batch_size: Examples per validation step.
        chunks: How many to time.
        chunk_seconds: The least duration of one.
        threads: CPU threads that are timed, as of a trial's `Instructions`.
        times_input: Whether the input pipeline is timed apart, too, where the loop has one.
    """

    trial_id: str
    batch_size: int
    loop: str = "auto"
    epochs: int = 1
    hyperparameters: Mapping[str, HyperparameterValue] = field(default_factory=dict)
    evaluation_batch_size: int = 256
    chunks: int = 5
    chunk_seconds: float = 0.3
    threads: int | None = None
    times_input: bool = True


@dataclass(frozen=True)
class Throughput:
    """Steady seconds of one optimizer update, compiling and warm-up excluded.

    Args:
        trial_id: The `ThroughputRequest` that this answers.
        batch_size: Its batch size.
        loop: The loop that trained: "keras", "device" or "xla".
        seconds_per_update: Median of the timed chunks.
        input_seconds_per_update: What the input pipeline alone takes for a batch; None where the loop has none, or that
            was not asked for.
        repeats: The seconds per update of each chunk, in their order.
        wall_seconds: What the chunks took together.
        cpu_seconds: The processor time of the worker meanwhile, of all its threads.
        others_share: The share of the machine's processor time that other processes took meanwhile, from 0 to 1, or a
            core's where a compile that nobody waits for went on; None where the system does not tell.
    """

    trial_id: str
    batch_size: int
    loop: str
    seconds_per_update: float
    input_seconds_per_update: float | None = None
    repeats: tuple[float, ...] = ()
    wall_seconds: float | None = None
    cpu_seconds: float | None = None
    others_share: float | None = None

    @property
    def is_disturbed(self) -> bool:
        """Whether others took so much of the machine that the seconds may be theirs."""
        return self.others_share is not None and self.others_share > MOST_OF_OTHERS


LEAST_CALLS_FOR_P95 = 20
"""The calls below which no 95th percentile is told: it would be the slowest call, or lie beyond it."""


@dataclass(frozen=True)
class InferenceRequest:
    """Ask a worker what one call of the compiled predict step costs at one batch size. Answered by an `Inference`, or
    by a `TrialOutcome` that says why there is none.

    Calls are timed until there are `least_calls` of them that took `least_seconds` together, or until they took
    `most_seconds`.

    Args:
        trial_id: Names the request.
        batch_size: Examples per call, at least 1.
        hyperparameters: Values for the build function's `hp`, by name.
        least_calls: The calls to time where they are quick, at least 1.
        least_seconds: The seconds that the timed calls should last together.
        most_seconds: The seconds after which no further call is begun.

    Raises:
        ValueError: If a number is out of its range.
    """

    trial_id: str
    batch_size: int
    hyperparameters: Mapping[str, HyperparameterValue] = field(default_factory=dict)
    least_calls: int = 50
    least_seconds: float = 1.0
    most_seconds: float = 5.0

    def __post_init__(self) -> None:
        for name in ("batch_size", "least_calls"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1; got {getattr(self, name)}.")
        if not 0 <= self.least_seconds <= self.most_seconds:
            told = f"least_seconds={self.least_seconds}, most_seconds={self.most_seconds}"
            raise ValueError(f"least_seconds must lie between 0 and most_seconds; got {told}.")


@dataclass(frozen=True)
class Inference:
    """What one call of the compiled predict step costs, tracing, compiling and warm-up excluded.

    Args:
        trial_id: The `InferenceRequest` that this answers.
        batch_size: Examples per call.
        calls: How many calls were timed, at least 1.
        seconds: What they took together.
        latency_p50_s: The seconds that half of the calls did not exceed.
        latency_p95_s: The seconds that 95 % of them did not exceed; None of fewer than 20 calls.
        peak_memory_bytes: Peak of device memory (GPU) or of the worker's resident memory (CPU), everything included.
    """

    trial_id: str
    batch_size: int
    calls: int
    seconds: float
    latency_p50_s: float
    latency_p95_s: float | None
    peak_memory_bytes: int

    @property
    def examples_per_second(self) -> float:
        """Examples that one second of calls takes in."""
        return self.batch_size * self.calls / self.seconds


Request = (
    DescribeRequest | MemoryProbeRequest | ThroughputRequest | NoiseScaleRequest | BranchRequest | InferenceRequest
)
WorkerAnswer = ModelDescription | MemoryProbe | Throughput | NoiseScales | Branches | Inference
Event = EpochReport | TrialOutcome | WorkerAnswer


@dataclass(frozen=True)
class Measurement:
    """Something measured apart from a trial: what fits, seconds per update, CPU threads, the gradient's noise scale,
    inference.

    Args:
        name: What was measured, such as "memory", "updates", "threads" or "noise"; one run of the record each.
        params: How and where, such as the batch size, the loop or the device.
        values: Single numbers by name.
        series: Name, value and step of what was measured repeatedly; the step is a batch size, or examples seen.
        reason: Why it could not be measured; empty if it was.
    """

    name: str
    params: Mapping[str, HyperparameterValue] = field(default_factory=dict)
    values: Mapping[str, float] = field(default_factory=dict)
    series: tuple[tuple[str, float, int], ...] = ()
    reason: str = ""
