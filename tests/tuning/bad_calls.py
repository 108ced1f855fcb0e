"""A table of calls of the Python API that cannot be honoured, and of what each is told in its one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import tuning
from search_spaces import FULL, BatchSize, Data, LearningRate, SearchSpace, Workload
from search_spaces.batch_size import parse_batch_sizes
from search_spaces.learning_rate import parse_learning_rates
from search_spaces.scaling import Scaling
from tuning.search.options import SearchOptions, read_search_arguments

X, Y = np.zeros((8, 2), "float32"), np.zeros(8, "int32")
NAN = np.where(np.arange(16).reshape(8, 2) < 2, np.nan, X)
RAGGED = np.array([[1], [1, 2], *[[3]] * 6], dtype=object)
Call = Callable[[], Any]


def build(hp: Any) -> None:
    """Is never called."""


def grid(**arguments: Any) -> Call:
    return lambda: tuning.GridSearch(build, **arguments)


def search(*arguments: Any, **more: Any) -> Call:
    return lambda: read_search_arguments(*arguments, **more)


def split(**more: Any) -> Call:
    return search(X, Y, validation_split=0.5, **more)


def options(**more: Any) -> Call:
    return lambda: SearchOptions(**more)


SPACES: list[tuple[Call, type[Exception], str]] = [
    (lambda: BatchSize(0), ValueError, "low must be a whole number of at least 1; got 0"),
    (lambda: BatchSize(-4), ValueError, "got -4"),
    (lambda: BatchSize(8.0), ValueError, "got 8.0"),
    (lambda: BatchSize("8"), ValueError, "got '8'"),
    (lambda: BatchSize(high="all"), ValueError, "high must be a whole number of at least 1; got 'all'"),
    (lambda: BatchSize(64, 32), ValueError, "got low=64, high=32"),
    (lambda: BatchSize(8, 64, factor=1), ValueError, "factor must be a whole number of at least 2; got 1"),
    (lambda: BatchSize(8, 64, factor=1.5), ValueError, "got 1.5"),
    (lambda: BatchSize(sizes=(8, 0)), ValueError, "batch size must be a whole number of at least 1; got 0"),
    (lambda: BatchSize(sizes=8), ValueError, "sizes must be a tuple; got 8"),
    (lambda: BatchSize.of(), ValueError, "needs at least one; got none"),
    (lambda: BatchSize.of(0), ValueError, "at least 1; got 0"),
    (lambda: BatchSize.of(2.5), ValueError, "got 2.5"),
    (lambda: BatchSize.of(True), ValueError, "got True"),
    (lambda: BatchSize.of("many"), ValueError, "got 'many'"),
    (lambda: BatchSize.of([8, 16]), ValueError, "got [8, 16]"),
    (lambda: BatchSize.of(8, 128).within(100), ValueError, "must not exceed the 100 training examples; got 128"),
    (lambda: BatchSize(8, 256).within(100), ValueError, "must not exceed the 100 training examples; got 256"),
    (lambda: BatchSize(4, 64).capped(2), ValueError, "smallest batch size must not exceed 2"),
    (lambda: BatchSize.of(8, FULL).values(), ValueError, "depend on the data; call within(n_train) first"),
    (lambda: parse_batch_sizes("8,3.5"), ValueError, "whole number or 'full'; got '3.5'"),
    (lambda: LearningRate(0.0), ValueError, "must be positive and finite; got 0.0"),
    (lambda: LearningRate(float("nan")), ValueError, "got nan"),
    (lambda: LearningRate("0.1"), ValueError, "got '0.1'"),
    (lambda: LearningRate(0.1, at_batch_size=0), ValueError, "at_batch_size must be at least 1; got 0"),
    (lambda: LearningRate(rule="cubic"), ValueError, "one of auto, sqrt, linear, constant; got 'cubic'"),
    (lambda: LearningRate(spread=()), ValueError, "at least one multiple; got none"),
    (lambda: LearningRate(spread=(1.0, -1.0)), ValueError, "got -1.0"),
    (lambda: LearningRate.choices(), ValueError, "needs at least one; got none"),
    (lambda: LearningRate.choices(0.1, float("inf")), ValueError, "got inf"),
    (lambda: LearningRate().centre(8, optimizer="Adam"), ValueError, "must be known"),
    (lambda: parse_learning_rates("1e-3,fast"), ValueError, "must be a number; got 'fast'"),
    (lambda: SearchSpace(BatchSize.of(8), LearningRate()), ValueError, "no learning rate of its own"),
    (lambda: Scaling(at_batch_size=0), ValueError, "at_batch_size must be positive; got 0"),
    (lambda: Scaling(reference_rate=0), ValueError, "reference_rate must be positive; got 0"),
    (lambda: Scaling(schedule_at=-1), ValueError, "schedule_at must be positive; got -1"),
]

DATA: list[tuple[Call, type[Exception], str]] = [
    (lambda: Data(X, Y[:3], X, Y), ValueError, "same number of examples; got x: 8, y: 3"),
    (lambda: Data(X, Y, {"a": X, "b": X[:1]}, Y), ValueError, "validation arrays must have the same number"),
    (lambda: Data(X, Y, X[:0], Y[:0]), ValueError, "validation part must hold at least one example"),
    (lambda: Data(None, Y, X, Y), ValueError, "needs at least one input array; got none"),
    (lambda: Data(X, Y, X, None), ValueError, "got targets for one of them alone"),
    (lambda: Data(X, None, X, None, Y), ValueError, "has weights and no targets"),
    (lambda: Data(1.0, 1.0, 1.0, 1.0), ValueError, "must be an array, or a dict, tuple or list of arrays; got float"),
    (lambda: Data(NAN, Y, X, Y).checked(), ValueError, "x_train must not hold NaN; got 2 of 16"),
    (lambda: Data(RAGGED, Y, X, Y).checked(), ValueError, "x_train must hold numbers or strings; got dtype object"),
    (lambda: Data(X.astype("datetime64[s]"), Y, X, Y).checked(), ValueError, "got dtype datetime64[s]"),
    (lambda: Data.split(X, Y, 0.0), ValueError, "validation_split must lie between 0 and 1; got 0.0"),
    (lambda: Data.split(X, Y, 1.0), ValueError, "got 1.0"),
    (lambda: Data.split(X, Y, -0.5), ValueError, "got -0.5"),
    (lambda: Data.split(X, Y, 20), ValueError, "got 20"),
    (lambda: Data.split(X, Y, 0.999), ValueError, "training part must hold at least one example"),
    (lambda: Data.from_npz("absent.npz"), ValueError, "must exist; got 'absent.npz'"),
    (lambda: Data.from_npz(Path()), ValueError, "must be a file; got the directory ."),
    (lambda: Workload("w", 5), ValueError, "build must be a function or a HyperModel; got 5"),
    (lambda: Workload("w", build, epochs=0), ValueError, "epochs must be a whole number of at least 1; got 0"),
    (lambda: Workload("w", build, batch_size=32), TypeError, "batch_size must be a BatchSize; got 32"),
    (lambda: Workload("w", build).load_data(), ValueError, "w brings no data"),
    (lambda: Workload("w", build, lambda: (X, Y)).load_data(), ValueError, "w brings none. Give a validation_split"),
    (search(), ValueError, "needs training data; got none"),
    (search(X, Y), ValueError, "judged on validation data; got none"),
    (search(X, Y, validation_split=2), ValueError, "judged on validation data"),
    (search(X, Y, validation_data=()), ValueError, "must be (x,), (x, y) or (x, y, sample_weight); got 0 parts"),
    (search(X, Y, validation_data=(X, Y, Y, Y)), ValueError, "got 4 parts"),
    (search(X, Y[:2], validation_data=(X, Y)), ValueError, "got x: 8, y: 2"),
    (search(NAN, Y, validation_data=(X, Y)), ValueError, "x_train must not hold NaN"),
    (split(batch_size=32), TypeError, "takes no batch_size"),
    (split(shuffle=False), ValueError, "shuffle must be True; got False"),
    (split(epochs=0), ValueError, "epochs must be a whole number of at least 1; got 0"),
    (split(epochs=2.5), ValueError, "got 2.5"),
    (split(epochs="5"), ValueError, "got '5'"),
    (split(validation_batch_size=-1), ValueError, "evaluation_batch_size must be a whole number of at least 1; got -1"),
    (split(validation_batch_size=0), ValueError, "got 0"),
    (split(callbacks=["stop"]), ValueError, "instances of keras.callbacks.Callback; got 'stop'"),
    (split(callbacks=5), ValueError, "callbacks must be a list of Keras callbacks; got 5"),
    (split(class_weight={0: -1.0}), ValueError, "finite and not negative; got 0: -1.0"),
    (split(class_weight={"a": 1.0}), ValueError, "got 'a': 1.0"),
    (split(class_weight=[1.0, 2.0]), ValueError, "class_weight must give classes"),
]

OPTIONS: list[tuple[Call, type[Exception], str]] = [
    (options(workers=0), ValueError, "workers must be a whole number of at least 1; got 0"),
    (options(workers=1.5), ValueError, "got 1.5"),
    (options(workers="2"), ValueError, "got '2'"),
    (options(threads=0), ValueError, "threads must be a whole number of at least 1; got 0"),
    (options(loop="turbo"), ValueError, "loop must be one of auto, keras, device, xla; got 'turbo'"),
    (options(rule="best"), ValueError, "got 'best'"),
    (options(cost="money"), ValueError, "got 'money'"),
    (options(tolerance=-1.0), ValueError, "tolerance must not be negative; got -1.0"),
    (options(tolerance="x"), ValueError, "tolerance must be a number; got 'x'"),
    (options(target=float("inf")), ValueError, "target must be a finite score; got inf"),
    (options(target="high"), ValueError, "target must be a number; got 'high'"),
    (options(timeout_s=0), ValueError, "timeout_s must be positive; got 0"),
    (options(timeout_s="60"), ValueError, "timeout_s must be a number; got '60'"),
    (options(trial_timeout_s=float("nan")), ValueError, "trial_timeout_s must be positive; got nan"),
    (options(memory_limit_bytes=0), ValueError, "memory_limit_bytes must be a whole number of at least 1; got 0"),
    (options(memory_limit_bytes="3GiB"), ValueError, "got '3GiB'"),
    (options(schedule_batch_size="always"), ValueError, "'off' or 'training'; got 'always'"),
    (options(schedule_batch_size=True), ValueError, "got True"),
    (options(keep_models=-1), ValueError, "keep_models must be a whole number of at least 0; got -1"),
    (options(max_retries_per_trial=-1), ValueError, "got -1"),
    (options(max_retries_per_trial=99), ValueError, "max_retries_per_trial must be at most 3; got 99"),
    (options(max_consecutive_failed_trials=0), ValueError, "must be a whole number of at least 1; got 0"),
    (options(accumulate=True, probe=False), ValueError, "accumulate needs the probe"),
    (options(in_process=True, threads=2), ValueError, "in_process has none; got threads=2"),
    (options(in_process=True, trial_timeout_s=5), ValueError, "trial_timeout_s ends a worker, and in_process has none"),
    (options(gpus_per_trial=-1), ValueError, "gpus_per_trial must be a whole number of at least 0; got -1"),
    (options(gpus_per_trial=2, loop="xla"), ValueError, "train by Keras's own fit; got gpus_per_trial=2, loop='xla'"),
    (options(gpus_per_trial=2, accumulate=True), ValueError, "cannot accumulate gradients on several GPUs"),
    (options(gpus_per_trial=2, in_process=True), ValueError, "in_process has none; got 2"),
    (options(tracking_uri=""), ValueError, "tracking_uri must not be empty; got ''"),
    (options(storage=""), ValueError, "storage must not be empty; got ''"),
]

TUNERS: list[tuple[Call, type[Exception], str]] = [
    (lambda: tuning.GridSearch(None), TypeError, "must be build_model(hp) or a keras_tuner.HyperModel; got None"),
    (lambda: tuning.GridSearch("model"), TypeError, "got 'model'"),
    (grid(seeds=0), ValueError, "seeds must be a whole number from 1 to 10000; got 0"),
    (grid(seeds=2.5), ValueError, "got 2.5"),
    (grid(seeds="many"), ValueError, "got 'many'"),
    (lambda: tuning.BayesianOptimization(build, seeds="auto"), ValueError, "got 'auto', which only GridSearch takes"),
    (lambda: tuning.StagedSearch(build, seeds="auto"), ValueError, "got 'auto', which only GridSearch takes"),
    (grid(executions_per_trial=0), ValueError, "got 0"),
    (grid(seed=-1), ValueError, "seed must be at least 0; got -1"),
    (grid(max_trials=0), ValueError, "max_trials must be a whole number from 1 to 10000; got 0"),
    (grid(batch_size=32), TypeError, "batch_size must be a BatchSize; got 32"),
    (grid(batch_size=[8, 32]), TypeError, "got [8, 32]"),
    (grid(learning_rate=0.1), TypeError, "learning_rate must be a LearningRate; got 0.1"),
    (grid(objective=5), TypeError, "objective must be a name, a keras_tuner.Objective or a list of them; got 5"),
    (grid(objective=[]), ValueError, "objective must"),
    (grid(objective=["val_loss", "speed"]), ValueError, "got 'speed'"),
    (grid(project_name="../other"), ValueError, "got '../other'"),
    (grid(project_name="a/b"), ValueError, "got 'a/b'"),
    (grid(tolerence=0.1), TypeError, "got 'tolerence'"),
    (
        grid(distribution_strategy=object()),
        ValueError,
        "distribution_strategy must be a tf.distribute.MirroredStrategy",
    ),
    (lambda: tuning.BayesianOptimization(build, sampler="best"), ValueError, "got 'best'"),
    (lambda: tuning.BayesianOptimization(build, sampler=5), TypeError, "got 5"),
    (lambda: tuning.BayesianOptimization(build, start_batch_size=0), ValueError, "at least 1; got 0"),
    (lambda: tuning.BayesianOptimization(build, sampler="tpe", start_batch_size=8), ValueError, "got 'tpe'"),
    (lambda: tuning.StagedSearch(build, max_trials=5), TypeError, "takes no max_trials"),
    (lambda: tuning.StagedSearch(build, first_seed=-1), ValueError, "first_seed must be at least 0; got -1"),
    (lambda: tuning.StagedSearch(build, accumulate=True), ValueError, "got accumulate"),
    (lambda: grid()().answer, ValueError, "no answer yet; call search() first"),
    (lambda: grid()().recommend(), ValueError, "No study is open yet; call the tuner's search() first"),
    (lambda: grid(project_name="nothing")().reload(), ValueError, "must have been searched before it can be read"),
    (lambda: tuning.load_study("nothing"), ValueError, "must have been searched before it can be read; got nothing"),
    (lambda: tuning.load_study("../other"), ValueError, "got '../other'"),
    (lambda: tuning.load_study("nothing", storage="nonsense"), ValueError, "must be reachable; got 'nonsense'"),
    (lambda: tuning.recommend([], objective="val_loss"), ValueError, "got no trial at all"),
]

CALLS = SPACES + DATA + OPTIONS + TUNERS
