"""The `keras` loop: Keras's own train function on a tf.data pipeline, exactly what plain `fit` gives."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from tuning.loops.arrays import DataPlacement
from tuning.loops.callbacks import Clock, wait_for
from tuning.loops.fit_plan import FitPlan, Pipeline, evaluation_dataset, install, own_function, placeholder_data
from tuning.loops.loading_pipeline import loaded_validation, pipeline_for, streamed_validation
from tuning.loops.loop import KERAS, Material
from tuning.loops.model_builder import evaluation_batch_size
from tuning.loops.order import ExampleOrder
from tuning.loops.replicas import replicas_of
from tuning.trial import Trial

PER_REPLICA = "batch_size.per_replica"
"""The setting of a training on several cards that tells the examples of an update on each of them."""


class KerasLoop:
    """Trains as a user's own `fit` does; there is nothing that Keras trains and it cannot."""

    name = KERAS

    def can_train(self, model: keras.Model, data: DataPlacement, callbacks: Sequence[Any]) -> str:  # noqa: ARG002  (a Loop's)
        """Return no reason, for any model and data."""
        return ""

    def plan(self, material: Material, order: ExampleOrder, clock: Clock) -> FitPlan:
        """Plan one training on a pipeline; the model's compile settings stay the user's."""
        return plan_fit(material.model, material.trial, material.data, order, clock)


def plan_fit(model: keras.Model, trial: Trial, data: DataPlacement, order: ExampleOrder, clock: Clock) -> FitPlan:
    """Return how plain `fit` trains a model on an order of examples.

    Args:
        model: Compiled for the trial, in its initial state.
        trial: What is trained.
        data: What it trains on.
        order: The examples of every gradient.
        clock: Is told every execution of the train function.
    """
    size = evaluation_batch_size(model, trial, data.arrays.n_val)
    pipeline = pipeline_for(data, order, distributed=is_distributed(model))
    return _pipeline_plan(model, own_function(model, "train"), pipeline, _validation(data, size), clock)


@dataclass(frozen=True)
class TimedFit:
    """A model whose updates by plain `fit` are timed at one batch size after another, traced once.

    Tracing takes longer than timing, and the weights that it begins with make no update slower. Sizes of batches are
    open, as they are to `fit` on arrays.

    Args:
        signature: Digests what of the model was traced.
        model: Compiled; under no strategy.
        own: Keras's train function of it.
    """

    signature: str
    model: keras.Model
    own: Callable[[Any], Any]

    def plan(self, data: DataPlacement, order: ExampleOrder, clock: Clock) -> FitPlan:
        """Return how plain `fit` trains the model on an order of examples, without validation."""
        return _pipeline_plan(self.model, self.own, pipeline_for(data, order, any_size=True), {}, clock)


def _validation(data: DataPlacement, batch_size: int) -> dict[str, Any]:
    """Return the arguments of `fit` for validation: arrays, or batches made one by one where they cannot be held."""
    arrays, loader = data.arrays, data.arrays.validation_loader
    if arrays.stream is not None:
        return {"validation_data": streamed_validation(arrays.stream, arrays.n_val, batch_size)}
    if loader is not None:
        return {"validation_data": loaded_validation(arrays.validation, loader, arrays.n_val, batch_size)}
    if data.fits_on_host and not data.has_text:  # of strings, Keras takes one form of several
        return {"validation_data": arrays.validation, "validation_batch_size": batch_size}
    return {"validation_data": evaluation_dataset(arrays.validation, arrays.n_val, batch_size)}


def _pipeline_plan(
    model: keras.Model,
    own: Callable[[Any], Any],
    pipeline: Pipeline,
    validation_arguments: dict[str, Any],
    clock: Clock,
) -> FitPlan:
    """Plain `fit` on our order of examples, with the compile settings of the user.

    Args:
        model: Compiled model.
        own: Keras's train function of it.
        pipeline: The batches of every epoch.
        validation_arguments: The arguments of `fit` for validation.
        clock: Times the train function.
    """
    dataset = pipeline.dataset
    distributed = is_distributed(model)
    if distributed:
        dataset = model.distribute_strategy.experimental_distribute_dataset(dataset)
    single = functools.partial(_single_step, model) if pipeline.serves_all_epochs else None
    steps = ExactSteps(own, int(model.steps_per_execution), pipeline, dataset, clock, single)
    if distributed:  # fit then builds the model from its first batch, so it must be given a true one
        model.train_function = lambda _: steps()
    else:
        install(model, "train", steps)
    arguments = {
        "x": pipeline.dataset.repeat() if distributed else placeholder_data(),
        "shuffle": False,  # the order is ours, and fit warns of shuffling a dataset
        "steps_per_epoch": steps.fit_steps,
        **validation_arguments,
    }
    settings = {"jit_compile": bool(model.jit_compile), "steps_per_execution": int(model.steps_per_execution)}
    if (replicas := replicas_of(model)) > 1:
        settings |= {"replicas": replicas, PER_REPLICA: pipeline.order.batch_size // replicas}
    return FitPlan(model, arguments, KERAS, settings=settings, pipeline=pipeline)


def _single_step(model: keras.Model) -> Callable[[Any], Any]:
    """Return Keras's own train function for one update per call, whatever the model's setting."""
    own = own_function(model, "train")

    def single(iterator: Any) -> Any:
        several = model.steps_per_execution
        model.steps_per_execution = 1  # Keras reads it while TensorFlow traces the first call
        try:
            return own(iterator)
        finally:
            model.steps_per_execution = several

    return single


def is_distributed(model: keras.Model) -> bool:
    """Return whether the model was built under a `tf.distribute` strategy."""
    return model.distribute_strategy is not tf.distribute.get_strategy()


class ExactSteps:
    """Steps of Keras's own train function that do exactly the updates of each epoch.

    Keras wants the same number of steps in every epoch, but the updates of an epoch vary by one, since leftover
    examples open the next epoch. So `fit` is given the least number of steps, and the last step of an epoch trains
    whatever is left of that epoch's iterator: one more update at times.

    Args:
        own: Keras's train function.
        updates_per_step: The model's `steps_per_execution`.
        pipeline: Told which epoch it serves.
        dataset: What is iterated once per epoch: the pipeline's dataset, perhaps distributed.
        clock: Times every call.
        make_single: Makes a train function of one update per call, where the end of an epoch does not end an iteration.
    """

    def __init__(
        self,
        own: Callable[[Any], Any],
        updates_per_step: int,
        pipeline: Pipeline,
        dataset: Any,
        clock: Clock,
        make_single: Callable[[], Callable[[Any], Any]] | None = None,
    ) -> None:
        self._own = own
        self._make_single = make_single
        self._updates_per_step = updates_per_step
        self._pipeline = pipeline
        self._dataset = dataset
        self._clock = clock
        self._steps = -(-pipeline.order.least_updates // updates_per_step)
        self._epoch = self._step = self._done = 0
        self._iterator: Any = None

    @property
    def fit_steps(self) -> int:
        """`steps_per_epoch` for `fit`, which counts `steps_per_execution` steps for every call."""
        return self._steps * self._updates_per_step

    def __call__(self) -> Any:
        """Do one step of the running epoch and return its logs."""
        updates = self._pipeline.order.updates_in(self._epoch)
        if self._step == 0:
            self._pipeline.begin(self._epoch)
            self._done = 0
            if self._iterator is None or not self._pipeline.serves_all_epochs:
                self._iterator = iter(self._dataset)
        logs = self._execute(updates)
        self._step += 1
        if self._step == self._steps:
            while self._done < updates and self._clock.next_batch(self.fit_steps - 1, logs):
                logs = self._execute(updates)
            self._clock.end_epoch(logs)
            self._epoch, self._step = self._epoch + 1, 0
        return logs

    def _execute(self, updates_of_epoch: int) -> Any:
        updates = min(self._updates_per_step, updates_of_epoch - self._done)
        self._done += updates
        if updates < self._updates_per_step and self._make_single is not None:
            return self._clock.run(functools.partial(self._one_by_one, updates), updates)
        return self._clock.run(lambda: self._own(self._iterator), updates)

    def _one_by_one(self, updates: int) -> Any:
        for _ in range(updates):
            logs = self._single(self._iterator)
        return logs

    @functools.cached_property
    def _single(self) -> Callable[[Any], Any]:
        assert self._make_single is not None
        return self._make_single()


def may_take_several(model: keras.Model) -> bool:
    """Return whether the steps per call are ours to choose: the model neither sets them nor cannot have several."""
    return bool(model.steps_per_execution == 1 and not model.run_eagerly and not is_distributed(model))


_CANDIDATE = 32
_SHARE_OF_TRIAL = 0.02
_WORTH_COMPILING = 20  # the second compile may cost a twentieth of the trial


def best_steps_per_execution(
    build: Callable[[], keras.Model],
    pipeline: Pipeline,
    updates: int,
    now: Callable[[], float] = time.perf_counter,
) -> tuple[int, dict[int, float]]:
    """1 or 32, by timing both on models that are thrown away, and the seconds per update of each.

    32 steps per call save most of Keras's overhead of about 2 ms per call (measured); more would gain little and
    delay callbacks. It is tried only where a second compile costs at most a twentieth of the trial.

    Args:
        build: Builds the model of the trial afresh.
        pipeline: The batches of the trial.
        updates: The updates of the trial.
        now: The clock, in seconds.
    """
    compiling, single = _time(build(), 1, pipeline, updates, now)
    seconds = {1: single}
    affordable = updates * single >= _WORTH_COMPILING * compiling
    if affordable and pipeline.order.least_updates >= 2 * _CANDIDATE:
        _, seconds[_CANDIDATE] = _time(build(), _CANDIDATE, pipeline, updates, now)
    return min(seconds, key=lambda steps: seconds[steps]), seconds


def _time(
    model: keras.Model, steps: int, pipeline: Pipeline, updates: int, now: Callable[[], float]
) -> tuple[float, float]:
    """Seconds of the first call, and of one update in the calls after it."""
    model.steps_per_execution = steps
    own = own_function(model, "train")
    pipeline.begin(0)
    iterator = iter(pipeline.dataset)
    begin = now()
    wait_for(own(iterator))
    compiling = now() - begin
    in_epoch = pipeline.order.least_updates // steps - 1
    calls = max(1, min(in_epoch, int(updates * _SHARE_OF_TRIAL / steps)))
    begin = now()
    for _ in range(calls):
        logs = own(iterator)
    wait_for(logs)
    return compiling, (now() - begin) / (calls * steps)
