"""Measures the steady seconds of one update, apart from any trial."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import keras

from tuning.loops.clock import wait_for
from tuning.loops.fit_plan import Block, FitPlan
from tuning.loops.pipeline import EpochPipeline

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
        self.chunks = chunks
        self.chunk_seconds = chunk_seconds
        self.now = now
        self.model: keras.Model | None = None
        self.seconds_per_update: list[float] = []
        self._executions = self._updates = 0
        self._begin = 0.0

    def expect_no_compiling(self) -> None:
        """Every program is warmed up alike."""

    def run(self, execution: Callable[[], Any], updates: int) -> Any:
        """Run one execution of the train function and account for it."""
        logs = execution()
        self._executions += 1
        if self._executions <= _WARM_UP_EXECUTIONS:
            wait_for(logs)
            self.begin()
            return logs
        self.count(updates)
        if self.is_full:
            wait_for(logs)
            self.close()
            self.begin()
            if len(self.seconds_per_update) >= self.chunks and self.model is not None:
                self.model.stop_training = True
        return logs

    def end_epoch(self, logs: Any) -> None:
        """Epochs make no difference here."""

    def begin(self) -> None:
        """Begin a chunk."""
        self._begin, self._updates = self.now(), 0

    def count(self, updates: int) -> None:
        """Add updates to the chunk."""
        self._updates += updates

    @property
    def is_full(self) -> bool:
        """Whether the chunk has lasted long enough."""
        return self._updates > 0 and self.now() - self._begin >= self.chunk_seconds

    def close(self) -> None:
        """End the chunk and keep its seconds per update."""
        self.seconds_per_update.append((self.now() - self._begin) / self._updates)


def measure(plan: FitPlan, clock: ChunkClock) -> float:
    """Return the median seconds of one update over the clock's chunks, without validation.

    Args:
        plan: Whose clock is `clock`.
        clock: Stops the training when it has its chunks.
    """
    if plan.block is not None:
        return _median_of_blocks(plan.block, clock)
    clock.model = plan.model
    arguments = {name: value for name, value in plan.arguments.items() if not name.startswith("validation")}
    plan.model.fit(**arguments, epochs=_ENDLESS, verbose=0)
    return statistics.median(clock.seconds_per_update)


def _median_of_blocks(block: Block, clock: ChunkClock) -> float:
    """Return the same for blocks, each as long as a chunk, lest a whole block take minutes."""
    wait_for(block.run(1))
    begin = clock.now()
    wait_for(block.run(1))
    updates = max(1, min(block.longest, int(clock.chunk_seconds / max(clock.now() - begin, 1e-9))))
    while len(clock.seconds_per_update) < clock.chunks:
        clock.begin()
        while not clock.is_full:
            clock.count(updates)
            wait_for(block.run(updates))
        clock.close()
    return statistics.median(clock.seconds_per_update)


def input_seconds(pipeline: EpochPipeline, seconds: float = 0.2, now: Callable[[], float] = time.perf_counter) -> float:
    """Seconds in which the pipeline alone makes one batch: iterated for `seconds`, for several epochs if need be.

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
            elapsed = now() - begin
            if elapsed >= seconds and batches > 0:
                return elapsed / batches
        epoch += 1
