"""What a search is asked: how it runs (`SearchOptions`), and what it trains on, read as Keras's `fit` reads it."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from numbers import Integral, Real
from typing import Any

from search_spaces.fit_data import read_fit_data
from search_spaces.scaling import check_schedule_batch_size
from search_spaces.stream import TrainingData
from tuning.loops.loop import AUTO, KERAS, LOOP_CHOICES
from tuning.run.pulse import SILENCE_LIMIT_S
from tuning.stats.rules import TIME, check_cost, check_rule
from tuning.trial import MOST_LOSSES

LOCAL, RAY = "local", "ray"
ENGINES = (LOCAL, RAY)


@dataclass(frozen=True)
class SearchOptions:
    """How a search runs.

    Args:
        tracking_uri: MLflow's store; None for `sqlite:///mlflow.db` in the working directory.
        storage: Optuna storage URL; None for a journal file in the study's directory.
        workers: Worker processes; None for one per visible GPU, or one on the CPU, of a grid one per core where one
            thread in each is measured to do more.
        threads: CPU threads of a worker; None for an equal share of the cores, but one for batch sizes that train
            faster so, where that is worth timing.
        loop: How models are trained: "auto", "keras", "device" or "xla".
        rule: How the recommendation picks: "fastest", "balanced" or "quality".
        tolerance: Loss of objective accepted for a cheaper batch size, in the objective's own units.
        target: Objective to reach; None for what the search suggests.
        cost: What decides between batch sizes that are good enough: "time", or "energy" where it can be read.
        trial_timeout_s: A trial that runs longer, as one that hangs does, is ended and has failed; None for no limit.
        silence_timeout_s: A trial whose worker shows no sign of life for so long, neither an epoch nor processor time,
            has failed; ten times the median time of an epoch if that is longer.
        timeout_s: Answer after so many seconds with what is known. Running trials are stopped, if any has a score, and
            run again when the search goes on.
        memory_limit_bytes: Resident memory that a CPU worker may use.
        probe: Whether to learn first which batch sizes fit, where the largest might not.
        accumulate: Train batches that do not fit as micro-batches whose gradients are averaged.
        prune: Whether to stop trials that are behind others of their batch size at equal examples; None for what suits
            the search.
        schedule_batch_size: The batch size whose updates the model's learning-rate schedule counts; None for the one at
            which the learning rate is right, "training" for a schedule that spans the whole training, "off" to leave
            its counts alone.
        scale_weight_decay: Whether weight decay follows the batch size, so that an epoch shrinks weights alike.
        scale_betas: Whether the optimizer's decay constants (beta_2 and its kin) follow the batch size.
        max_retries_per_trial: How often a trial that failed runs again, at most 3.
        max_consecutive_failed_trials: After so many failed trials in a row no further one is started; None for no end.
        keep_models: How many of the best models' weights to keep on disk.
        keep_states: Keep of every trial of a grid where its training ended, about three times its weights with Adam, so
            that a search for more epochs goes on from there.
        in_process: Train in this process, for debugging: no workers, no protection from crashes.
        engine: Where trials run: "local" for this machine, or "ray" for a Ray cluster.
        ray_address: "auto" for the cluster of which this machine is a node, HOST:PORT of the head of such a cluster, or
            "local" to start Ray on this machine only.
        cpus_per_trial: CPUs that a trial takes of a node of Ray, which are its threads; None for 1.
        gpus_per_trial: GPUs that share a trial, of one machine, by TensorFlow's `MirroredStrategy`; 0 to train on the
            CPU, None for 1 if there are any.
        device_kind: The kind of device the answer holds for, such as "NVIDIA L4", where a cluster has several;
            None for the one that runs most trials, of a staged search the first that is there.
        quiet: Show no progress.

    Raises:
        ValueError: If a value is out of its range.
    """

    tracking_uri: str | None = None
    storage: str | None = None
    workers: int | None = None
    threads: int | None = None
    loop: str = "auto"
    rule: str = "fastest"
    tolerance: float | None = None
    target: float | None = None
    cost: str = TIME
    timeout_s: float | None = None
    trial_timeout_s: float | None = None
    silence_timeout_s: float = SILENCE_LIMIT_S
    memory_limit_bytes: int | None = None
    probe: bool = True
    accumulate: bool = False
    prune: bool | None = None
    schedule_batch_size: int | str | None = None
    scale_weight_decay: bool = True
    scale_betas: bool = False
    max_retries_per_trial: int = 0
    max_consecutive_failed_trials: int | None = None
    keep_models: int = 5
    keep_states: bool = False
    in_process: bool = False
    engine: str = LOCAL
    ray_address: str = "auto"
    cpus_per_trial: int | None = None
    gpus_per_trial: int | None = None
    device_kind: str | None = None
    quiet: bool = False

    def __post_init__(self) -> None:
        if self.loop not in LOOP_CHOICES:
            raise ValueError(f"loop must be one of {', '.join(LOOP_CHOICES)}; got {self.loop!r}.")
        check_rule(self.rule)
        check_cost(self.cost)
        check_schedule_batch_size(self.schedule_batch_size)
        self._check_numbers()
        if self.tolerance is not None and not self.tolerance >= 0:
            raise ValueError(f"tolerance must not be negative; got {self.tolerance}. It is a loss that is accepted.")
        if self.target is not None and not math.isfinite(self.target):
            raise ValueError(f"target must be a finite score; got {self.target}. Leave it out for none.")
        for name in ("tracking_uri", "storage"):
            if (address := getattr(self, name)) is not None and not str(address).strip():
                raise ValueError(f"{name} must not be empty; got {address!r}. Leave it out for the default.")
        self._check_engine()
        self._check_cards()
        if self.in_process and self.threads is not None:
            raise ValueError(f"threads are a worker's, and in_process has none; got threads={self.threads}. Drop one.")
        for name in ("timeout_s", "trial_timeout_s", "silence_timeout_s"):
            if (seconds := getattr(self, name)) is not None and not seconds > 0:
                raise ValueError(f"{name} must be positive; got {seconds}.")
        if self.in_process and self.trial_timeout_s is not None:
            raise ValueError("trial_timeout_s ends a worker, and in_process has none; drop one of the two.")
        if self.accumulate and not self.probe:
            raise ValueError("accumulate needs the probe, which tells what fits; leave probe (no --no-probe) on.")
        if self.max_retries_per_trial > MOST_LOSSES:
            raise ValueError(f"max_retries_per_trial must be at most {MOST_LOSSES}; got {self.max_retries_per_trial}.")

    def _check_engine(self) -> None:
        if self.engine not in ENGINES:
            raise ValueError(f"engine must be one of {', '.join(ENGINES)}; got {self.engine!r}.")
        if self.engine == LOCAL:
            for name, usual in _OF_RAY.items():
                if (value := getattr(self, name)) != usual:
                    raise ValueError(f"{name} is about the engine ray; got {value!r}. Give engine (--engine) ray, too.")
        elif self.keep_states:
            raise ValueError(
                "keep_states keeps files on this machine, which engine='ray' cannot read; drop one of the two."
            )
        elif self.threads is not None:
            raise ValueError(
                f"threads are those that Ray counts for a trial; got {self.threads}. Give cpus_per_trial "
                "(--cpus-per-trial) instead."
            )
        elif self.in_process:
            raise ValueError("in_process trains in this process, and engine='ray' does not; drop one of the two.")

    def _check_cards(self) -> None:
        cards = self.gpus_per_trial
        if cards is None or cards == 1:
            return
        if self.in_process:
            raise ValueError(f"gpus_per_trial is about workers, and in_process has none; got {cards}. Drop one.")
        if cards > 1 and self.loop not in (AUTO, KERAS):
            raise ValueError(
                f"Several GPUs in a trial train by Keras's own fit; got gpus_per_trial={cards}, loop={self.loop!r}. "
                f"Leave loop out, or give {KERAS!r}."
            )
        if cards > 1 and self.accumulate:
            raise ValueError(
                f"Keras cannot accumulate gradients on several GPUs; got gpus_per_trial={cards} with accumulate. Drop "
                "one of the two."
            )

    def _check_numbers(self) -> None:
        for name, least in _LEAST.items():
            number = getattr(self, name)
            if number is not None and (isinstance(number, bool) or not isinstance(number, Integral) or number < least):
                raise ValueError(f"{name} must be a whole number of at least {least}; got {number!r}.")
        for name in ("tolerance", "target", "timeout_s", "trial_timeout_s", "silence_timeout_s"):
            if (number := getattr(self, name)) is not None and not isinstance(number, Real):
                raise ValueError(f"{name} must be a number; got {number!r}.")


_OF_RAY = {"ray_address": "auto", "cpus_per_trial": None, "device_kind": None}

_LEAST = {
    "workers": 1,
    "cpus_per_trial": 1,
    "gpus_per_trial": 0,
    "threads": 1,
    "memory_limit_bytes": 1,
    "max_consecutive_failed_trials": 1,
    "keep_models": 0,
    "max_retries_per_trial": 0,
}


def read_options(given: Mapping[str, Any]) -> SearchOptions:
    """Options from keyword arguments.

    `distribution_strategy`, as KerasTuner takes it, stands for `gpus_per_trial`.

    Raises:
        TypeError: If one is unknown.
        ValueError: If a value is out of its range.
    """
    known = [field.name for field in fields(SearchOptions)]
    options = dict(given)
    if (strategy := options.pop("distribution_strategy", None)) is not None:
        options["gpus_per_trial"] = _cards_of(strategy, given.get("gpus_per_trial"))
    for name in options:
        if name not in known:
            raise TypeError(f"The tuner takes the options {', '.join(known)}; got {name!r}.")
    return SearchOptions(**options)


def _cards_of(strategy: Any, asked: int | None) -> int:
    """Return how many cards a strategy of KerasTuner's users has; workers open one of their own on as many.

    Raises:
        ValueError: If it is no `MirroredStrategy`, or `gpus_per_trial` says otherwise.
    """
    cards = getattr(strategy, "num_replicas_in_sync", None)
    if type(strategy).__name__ != "MirroredStrategy" or cards is None:
        raise ValueError(
            f"distribution_strategy must be a tf.distribute.MirroredStrategy; got {strategy!r:.80}. Leave it out, and "
            "give gpus_per_trial."
        )
    if asked not in (None, cards):
        raise ValueError(f"gpus_per_trial must be what distribution_strategy has, {cards}; got {asked}. Drop one.")
    return int(cards)


EVALUATION_BATCH_SIZE = 256


@dataclass(frozen=True)
class SearchArguments:
    """The arguments of one search.

    Args:
        data: Training and validation arrays.
        epochs: Passes over the training set per trial.
        callbacks: The user's, copied for every trial.
        evaluation_batch_size: Examples per validation step, the same for every trial.
        verbose: 0 shows nothing.
        fit_options: What is handed on to Keras's `fit`.
        source: What the command line was given to read all this from, by option; empty for a tuner's own search.
    """

    data: TrainingData
    epochs: int
    callbacks: tuple[Any, ...] = ()
    evaluation_batch_size: int = EVALUATION_BATCH_SIZE
    verbose: bool = True
    fit_options: Mapping[str, Any] = field(default_factory=dict)
    source: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("epochs", "evaluation_batch_size"):
            number = getattr(self, name)
            if isinstance(number, bool) or not isinstance(number, Integral) or number < 1:
                raise ValueError(f"{name} must be a whole number of at least 1; got {number!r}.")
        for each in self.callbacks:
            if isinstance(each, type) or not hasattr(each, "set_model"):
                raise ValueError(f"callbacks must be instances of keras.callbacks.Callback; got {each!r:.80}.")
        _check_class_weight(self.fit_options.get("class_weight"))
        board = any(kind.__name__ == "TensorBoard" for each in self.callbacks for kind in type(each).__mro__)
        if board and importlib.util.find_spec("tensorboard") is None:
            raise ValueError(
                "The TensorBoard callback needs the package tensorboard, which TensorFlow does not bring; it is not "
                "installed. Install it, or leave the callback out: MLflow has every metric."
            )


def _check_class_weight(weights: Any) -> None:
    if weights is None:
        return
    entries = weights.items() if isinstance(weights, Mapping) else [(weights, None)]
    for label, weight in entries:
        is_class = hasattr(label, "__index__") and label >= 0
        if not (is_class and isinstance(weight, int | float) and math.isfinite(weight) and weight >= 0):
            raise ValueError(
                f"class_weight must give classes, whole numbers from 0, weights that are finite and not negative; got "
                f"{label!r}: {weight!r}."
            )


def read_search_arguments(
    x: Any = None,
    y: Any = None,
    *,
    epochs: int = 1,
    callbacks: Sequence[Any] = (),
    validation_data: Any = None,
    validation_split: float = 0.0,
    validation_batch_size: int | None = None,
    sample_weight: Any = None,
    verbose: Any = "auto",
    shuffle: bool = True,
    **fit_options: Any,
) -> SearchArguments:
    """Read the arguments of `tuner.search`.

    Args:
        x: `search_spaces.Data` or `Stream`, inputs as arrays, or a finite `tf.data.Dataset` or `PyDataset` of `(x, y)`.
        y: Targets, if `x` holds inputs.
        epochs: Passes over the training set per trial.
        callbacks: Keras callbacks.
        validation_data: `(x, y)`, `(x, y, sample_weight)`, or a dataset.
        validation_split: Share of the examples, taken from the end, to validate on instead.
        validation_batch_size: Examples per validation step.
        sample_weight: One per training example.
        verbose: 0 for silence.
        shuffle: Must be true: every epoch samples without replacement.
        fit_options: Further arguments of Keras's `fit`.

    Raises:
        TypeError: If `batch_size` is given; it is what is searched.
        ValueError: If there is nothing to validate on, or an argument cannot be honoured.
    """
    if "batch_size" in fit_options:
        raise TypeError("search() takes no batch_size: it is what is searched. Give it to the tuner's constructor.")
    if not shuffle:
        raise ValueError("shuffle must be True; got False. Examples are sampled without replacement in every epoch.")
    if not isinstance(callbacks, Sequence):
        raise ValueError(f"callbacks must be a list of Keras callbacks; got {callbacks!r:.80}.")
    return SearchArguments(
        data=read_fit_data(x, y, sample_weight, validation_data, validation_split).checked(),
        epochs=epochs,
        callbacks=tuple(callbacks),
        evaluation_batch_size=EVALUATION_BATCH_SIZE if validation_batch_size is None else validation_batch_size,
        verbose=verbose != 0,
        fit_options=fit_options,
    )
