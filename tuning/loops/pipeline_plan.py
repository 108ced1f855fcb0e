"""Plans trials on a tf.data pipeline: plain `fit`, and the fallback where data or model rule out the device loops."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras

from tuning.loops.arrays import DataPlacement, TrainingArrays
from tuning.loops.clock import Clock, wait_for
from tuning.loops.fit_plan import FitPlan, own_function
from tuning.loops.keras_loop import EpochPipeline, evaluation_dataset, is_distributed, keras_plan
from tuning.loops.order import ExampleOrder


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


_CANDIDATE = 32
_SHARE_OF_TRIAL = 0.02
_WORTH_COMPILING = 20  # the second compile may cost a twentieth of the trial


def best_steps_per_execution(
    build: Callable[[], keras.Model],
    pipeline: EpochPipeline,
    updates: int,
    now: Callable[[], float] = time.perf_counter,
) -> tuple[int, dict[int, float]]:
    """1 or 32, by timing both on models that are thrown away, and the seconds per update of each.

    32 steps per call save most of Keras's overhead of about 2 ms per call (measured); more would gain little and
    delay callbacks. It is tried only where a second compile costs at most a twentieth of the trial.

    Args:
        build: Builds the model of the trial afresh.
        pipeline: Of the trial.
        updates: Of the trial.
        now: The clock, in seconds.
    """
    compiling, single = _time(build(), 1, pipeline, updates, now)
    seconds = {1: single}
    affordable = updates * single >= _WORTH_COMPILING * compiling
    if affordable and pipeline.order.least_updates >= 2 * _CANDIDATE:
        _, seconds[_CANDIDATE] = _time(build(), _CANDIDATE, pipeline, updates, now)
    return min(seconds, key=lambda steps: seconds[steps]), seconds


def _time(
    model: keras.Model, steps: int, pipeline: EpochPipeline, updates: int, now: Callable[[], float]
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
