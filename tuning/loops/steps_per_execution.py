"""How many updates Keras's own train function does per call, where the choice of a loop falls back to it."""

from __future__ import annotations

import time
from collections.abc import Callable

import keras

from tuning.loops.clock import wait_for
from tuning.loops.fit_plan import own_function
from tuning.loops.keras_loop import is_distributed
from tuning.loops.pipeline import EpochPipeline


def may_take_several(model: keras.Model) -> bool:
    """Return whether the steps per call are ours to choose: the model neither sets them nor cannot have several."""
    return bool(model.steps_per_execution == 1 and not model.run_eagerly and not is_distributed(model))


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
