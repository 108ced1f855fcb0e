"""The `keras` loop: Keras's own train function on a tf.data pipeline, exactly what plain `fit` gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from tuning.loops.arrays import DataPlacement
from tuning.loops.clock import Clock
from tuning.loops.fit_plan import FitPlan, install, own_function, placeholder_data
from tuning.loops.loop import Material
from tuning.loops.order import ExampleOrder
from tuning.loops.pipeline import EpochPipeline, evaluation_dataset
from tuning.loops.registry import KERAS


class KerasLoop:
    """Trains as a user's own `fit` does; there is nothing that Keras trains and it cannot."""

    name = KERAS

    def can_train(self, model: keras.Model, data: DataPlacement, callbacks: Sequence[Any]) -> str:  # noqa: ARG002  (a Loop's)
        """Return no reason, for any model and data."""
        return ""

    def plan(self, material: Material, order: ExampleOrder, clock: Clock) -> FitPlan:
        """Plan one training on a pipeline; the model's compile settings stay the user's."""
        evaluation_batch_size = material.trial.instructions.evaluation_batch_size
        pipeline = EpochPipeline(material.data.for_pipeline, order)
        return _pipeline_plan(material.model, pipeline, _validation(material.data, evaluation_batch_size), clock)


def _validation(data: DataPlacement, batch_size: int) -> dict[str, Any]:
    """Return the arguments of `fit` for validation: arrays, or batches read one by one where they do not fit."""
    arrays = data.arrays
    if data.fits_on_host:
        return {"validation_data": arrays.validation, "validation_batch_size": batch_size}
    return {"validation_data": evaluation_dataset(arrays.validation, arrays.n_val, batch_size)}


def _pipeline_plan(
    model: keras.Model,
    pipeline: EpochPipeline,
    validation_arguments: dict[str, Any],
    clock: Clock,
) -> FitPlan:
    """Plain `fit` on our order of examples, with the compile settings of the user.

    Args:
        model: Compiled model.
        pipeline: The batches of every epoch.
        validation_arguments: The arguments of `fit` for validation.
        clock: Times the train function.
    """
    dataset = pipeline.dataset
    distributed = is_distributed(model)
    if distributed:
        dataset = model.distribute_strategy.experimental_distribute_dataset(dataset)
    steps = ExactSteps(own_function(model, "train"), int(model.steps_per_execution), pipeline, dataset, clock)
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
    return FitPlan(model, arguments, KERAS, settings=settings, pipeline=pipeline)


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
    """

    def __init__(
        self,
        own: Callable[[Any], Any],
        updates_per_step: int,
        pipeline: EpochPipeline,
        dataset: Any,
        clock: Clock,
    ) -> None:
        self._own = own
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
            self._iterator, self._done = iter(self._dataset), 0
        logs = self._execute(updates)
        self._step += 1
        if self._step == self._steps:
            while self._done < updates:
                logs = self._execute(updates)
            self._clock.end_epoch(logs)
            self._epoch, self._step = self._epoch + 1, 0
        return logs

    def _execute(self, updates_of_epoch: int) -> Any:
        updates = min(self._updates_per_step, updates_of_epoch - self._done)
        self._done += updates
        return self._clock.run(lambda: self._own(self._iterator), updates)
