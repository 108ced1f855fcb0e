"""Measures the steady seconds of one update, apart from any trial."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import keras

from tuning.training.clock import wait_for
from tuning.training.fit_plan import FitPlan
from tuning.training.input_pipeline import EpochPipeline

_ENDLESS = 10**9
_WARM_UP_EXECUTIONS = 3  # tracing, compiling, and the first steps of allocators and pipelines


class ChunkClock:
    """A clock for a plan that closes a chunk whenever enough seconds have passed, gaps between steps included.

    Args:
        chunks: How many to time.
        chunk_seconds: The least duration of one.
        now: The clock, in seconds.
    """

    def __init__(self, chunks: int, chunk_seconds: float, now: Callable[[], float] = time.perf_counter) -> None:
        self._chunks = chunks
        self._chunk_seconds = chunk_seconds
        self._now = now
        self._executions = self._updates = 0
        self._begin = 0.0
        self.model: keras.Model | None = None
        self.seconds_per_update: list[float] = []

    def expect_no_compiling(self) -> None:
        """Every program is warmed up alike."""

    def run(self, execution: Callable[[], Any], updates: int) -> Any:
        """Run one execution of the train function and account for it."""
        logs = execution()
        self._executions += 1
        if self._executions <= _WARM_UP_EXECUTIONS:
            wait_for(logs)
            self._begin = self._now()
            return logs
        self._updates += updates
        if self._now() - self._begin >= self._chunk_seconds:
            wait_for(logs)
            self._close()
        return logs

    def end_epoch(self, logs: Any) -> None:
        """Epochs make no difference here."""

    def _close(self) -> None:
        end = self._now()
        self.seconds_per_update.append((end - self._begin) / self._updates)
        self._begin, self._updates = end, 0
        if len(self.seconds_per_update) >= self._chunks and self.model is not None:
            self.model.stop_training = True


def measure(plan: FitPlan, clock: ChunkClock) -> float:
    """The median seconds of one update over the clock's chunks, without validation.

    Args:
        plan: Whose clock is `clock`.
        clock: Stops the training when it has its chunks.
    """
    clock.model = plan.model
    arguments = {name: value for name, value in plan.arguments.items() if not name.startswith("validation")}
    plan.model.fit(**arguments, epochs=_ENDLESS, verbose=0)
    return statistics.median(clock.seconds_per_update)


def input_seconds(pipeline: EpochPipeline, seconds: float = 0.2, now: Callable[[], float] = time.perf_counter) -> float:
    """Seconds in which the pipeline alone makes one batch: its first epochs, iterated for `seconds` or longer.

    The first batch, which waits for the pipeline's threads to start, is not counted unless there is no other.
    """
    batches, epoch, begin = 0, 0, now()
    skipped = pipeline.order.least_updates == 1
    while True:
        pipeline.begin(epoch)
        for _ in pipeline.dataset:
            batches += 1
            if not skipped:
                batches, begin, skipped = 0, now(), True
        epoch += 1
        end = now()
        if end - begin >= seconds and batches > 0:
            return (end - begin) / batches
