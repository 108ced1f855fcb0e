"""Plans trials on a tf.data pipeline: plain `fit`, and the fallback where data or model rule out the device loops."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras

from tuning.training.arrays import TrainingArrays
from tuning.training.clock import Clock
from tuning.training.fit_plan import FitPlan
from tuning.training.input_pipeline import EpochPipeline, evaluation_dataset
from tuning.training.keras_loop import is_distributed, keras_plan
from tuning.training.order import ExampleOrder
from tuning.training.placement import DataPlacement
from tuning.training.streaming import best_steps_per_execution


class PipelinePlans:
    """Makes plans whose batches come through a pipeline.

    Args:
        arrays: What trials train on.
        placement: Where they lie.
    """

    def __init__(self, arrays: TrainingArrays, placement: DataPlacement) -> None:
        self._arrays = arrays
        self._placement = placement

    def plain(self, model: keras.Model, order: ExampleOrder, evaluation_batch_size: int, clock: Clock) -> FitPlan:
        """What a user gets from `fit`, with the compile settings of the model."""
        return keras_plan(model, self.pipeline(order), self._validation(evaluation_batch_size), clock)

    def fallback(
        self,
        build: Callable[[], keras.Model],
        order: ExampleOrder,
        epochs: int,
        evaluation_batch_size: int,
        clock: Clock,
    ) -> FitPlan:
        """`fit` with `steps_per_execution` chosen by timing, unless the model sets it or cannot have it."""
        begin = time.perf_counter()
        model, seconds = build(), dict[int, float]()
        if model.steps_per_execution == 1 and not model.run_eagerly and not is_distributed(model):
            updates = order.updates_after(epochs)
            steps, seconds = best_steps_per_execution(build, self.pipeline(order), updates)
            model = build()
            model.steps_per_execution = steps
        plan = self.plain(model, order, evaluation_batch_size, clock)
        return replace(
            plan,
            compile_seconds=time.perf_counter() - begin,
            measurements={f"seconds_per_update_with_{steps}_per_call": value for steps, value in seconds.items()},
        )

    def pipeline(self, order: ExampleOrder) -> EpochPipeline:
        """The batches of every epoch."""
        return EpochPipeline(self._placement.for_pipeline, order)

    def _validation(self, batch_size: int) -> dict[str, Any]:
        arrays = self._arrays
        if self._placement.fits_on_host:
            return {"validation_data": arrays.validation, "validation_batch_size": batch_size}
        return {"validation_data": evaluation_dataset(arrays.validation, arrays.n_val, batch_size)}
