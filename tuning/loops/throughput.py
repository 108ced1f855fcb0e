"""What training costs apart from any trial: the steady seconds of one update, and the peak of memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import keras

from tuning.loops.bystanders import Moment, read_moment
from tuning.loops.callbacks import wait_for
from tuning.loops.fit_plan import Block, FitPlan, MakePlan, Pipeline, training_to_measure
from tuning.loops.loading_pipeline import LoadingPipeline, StreamPipeline
from tuning.loops.order import ExampleOrder
from tuning.loops.processor import Processor, counted_peak, this_processor
from tuning.messages import INPUT_SECONDS, MOST_OF_OTHERS, MemoryProbe, MemoryProbeRequest

_ENDLESS = 10**9
_WARM_UP_EXECUTIONS = 3  # tracing, compiling, and the first steps of allocators and pipelines


_MOST_TIMINGS = 3  # of one batch size, where others use the machine meanwhile


@dataclass(frozen=True)
class Chunks:
    """Timed chunks of training that followed one another.

    Args:
        seconds_per_update: Of each chunk.
        wall_s: What they took together.
        cpu_s: The processor time of this process meanwhile.
        others_share: The share of the machine's that others took; None where the system does not tell.
    """

    seconds_per_update: tuple[float, ...]
    wall_s: float
    cpu_s: float
    others_share: float | None

    @property
    def is_disturbed(self) -> bool:
        """Whether others took so much of the machine that the seconds may be theirs."""
        return self.others_share is not None and self.others_share > MOST_OF_OTHERS


class ChunkClock:
    """A clock for a plan that closes a chunk whenever enough seconds have passed, gaps between steps included.

    Where others use the machine meanwhile the chunks are timed again, at most twice; the least disturbed ones count.

    Args:
        chunks: How many to time.
        chunk_seconds: The least duration of one.
        now: The clock, in seconds.
        read: Reads what this process and the machine have done so far.
    """

    def __init__(
        self,
        chunks: int,
        chunk_seconds: float,
        now: Callable[[], float] = time.perf_counter,
        read: Callable[[], Moment] = read_moment,
    ) -> None:
        self._n_chunks = chunks
        self.chunk_seconds = chunk_seconds
        self.now = now
        self.model: keras.Model | None = None
        self._read = read
        self._timings: list[Chunks] = []
        self._seconds: list[float] = []
        self._executions = self._updates = 0
        self._begin = 0.0
        self._before = Moment(0.0, 0.0, None, 1)

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
            if self.is_complete and self.model is not None:
                self.model.stop_training = True
        return logs

    def next_batch(self, batch: int, logs: Any) -> bool:  # noqa: ARG002  (a Clock's)
        """Nobody watches: go on."""
        return True

    def end_epoch(self, logs: Any) -> None:
        """Epochs make no difference here."""

    def begin(self) -> None:
        """Begin a chunk."""
        if not self._seconds:
            self._before = self._read()
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
        self._seconds.append((self.now() - self._begin) / self._updates)
        if len(self._seconds) == self._n_chunks:
            end, before = self._read(), self._before
            shares = (end.wall_s - before.wall_s, end.own_s - before.own_s, end.others_since(before))
            self._timings.append(Chunks(tuple(self._seconds), *shares))
            self._seconds = []

    @property
    def is_complete(self) -> bool:
        """Whether there are chunks that nobody disturbed, or there have been enough of others."""
        done = self._timings
        return bool(done) and (len(done) == _MOST_TIMINGS or not done[-1].is_disturbed)

    @property
    def least_disturbed(self) -> Chunks:
        """The chunks that others disturbed least."""
        return min(self._timings, key=lambda chunks: chunks.others_share or 0.0)


def measure(plan: FitPlan, clock: ChunkClock) -> Chunks:
    """Return the timed chunks of training, without validation, that others have disturbed least.

    Args:
        plan: Whose clock is `clock`.
        clock: Stops the training when it has its chunks.
    """
    if plan.block is not None:
        _run_blocks(plan.block, clock)
        return clock.least_disturbed
    clock.model = plan.model
    arguments = {name: value for name, value in plan.arguments.items() if not name.startswith("validation")}
    plan.model.fit(**arguments, epochs=_ENDLESS, verbose=0)
    return clock.least_disturbed


def _run_blocks(block: Block, clock: ChunkClock) -> None:
    """Train in blocks, each as long as a chunk, lest a whole block take minutes."""
    wait_for(block.run(block.shortest))
    clock.begin()
    begin = clock.now()
    clock.count(block.shortest)
    wait_for(block.run(block.shortest))
    affordable = int(block.shortest * clock.chunk_seconds / max(clock.now() - begin, 1e-9))
    updates = max(block.shortest, min(block.longest, affordable))
    if clock.is_full:  # a shortest block that is as long as a chunk is the first one
        clock.close()
    while not clock.is_complete:
        clock.begin()
        while not clock.is_full:
            clock.count(updates)
            wait_for(block.run(updates))
        clock.close()


def input_seconds(pipeline: Pipeline, seconds: float = 0.2, now: Callable[[], float] = time.perf_counter) -> float:
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


_MAKING = (LoadingPipeline, StreamPipeline)
_TIMINGS = 3  # the quickest counts: a pipeline that has just begun finds out how many threads it needs


def input_seconds_alone(pipeline: Pipeline) -> float:
    """Seconds in which the pipeline alone makes one batch, at its best where it loads examples."""
    return min(input_seconds(pipeline) for _ in range(_TIMINGS if isinstance(pipeline, _MAKING) else 1))


_WORTH_TIMING = 100  # timing the input takes six batches or more, which is little of such a training


class InputTimes:
    """Times the pipelines that load examples, once for each batch size, and adds what they take alone to plans."""

    def __init__(self) -> None:
        self._seconds: dict[int, float] = {}

    def told(self, plan: FitPlan, updates: int) -> FitPlan:
        """Return the plan with the measurement, where it loads examples and trains for long enough.

        Args:
            plan: Of a training that has not begun.
            updates: How many it does.
        """
        pipeline = plan.pipeline
        if pipeline is None or not isinstance(pipeline, _MAKING):
            return plan
        size = pipeline.order.batch_size
        if size not in self._seconds and updates >= _WORTH_TIMING:
            self._seconds[size] = input_seconds_alone(pipeline)
        if size not in self._seconds:
            return plan
        return replace(plan, measurements={**plan.measurements, INPUT_SECONDS: self._seconds[size]})


_BATCHES_AHEAD = 16  # more than an input pipeline ever holds ready
_LEAST_WAIT_S, _LONGEST_WAIT_S = 0.1, 2.0


def probe_memory(
    make_plan: MakePlan, n_train: int, request: MemoryProbeRequest, processor: Processor | None = None
) -> MemoryProbe:
    """Train a few updates, so that the optimizer's slots exist, validate, and read the peak.

    The peak is taken from after the data were placed and the model built, so that what placing them needed for a
    moment does not count. The input pipeline is given time to fill before the last update: it may hold several
    batches, and how many it has made after so few updates is chance (measured: 7 % of the peak of a small CNN).

    Args:
        make_plan: Plans a training on an order of examples.
        n_train: Training examples.
        request: What to probe.
        processor: Whose memory; None for this process's own.

    Raises:
        Exception: Whatever building or training raises; see `status_of_error`.
    """
    processor, size = processor or this_processor(), request.batch_size
    order = ExampleOrder(min(n_train, _BATCHES_AHEAD * size), size, seed=0)
    epochs = max(-(-request.updates // order.least_updates), 1 + processor.is_gpu)
    processor.reset_peak()
    plan = make_plan(training_to_measure(request, epochs, loop=request.loop), order)
    watch = _FewUpdates(request.updates, processor)
    baseline = watch.begin()
    plan.model.fit(**plan.arguments, epochs=epochs, callbacks=[watch], verbose=0)
    peak = max(baseline, counted_peak(processor))  # Linux's own count may fall by a few pages
    return MemoryProbe(request.trial_id, size, peak, baseline, watch.first_peak_bytes)


class _FewUpdates(keras.callbacks.Callback):
    """Waits before the last update for about as long as the one before it took, and ends the training after it.

    On a GPU it tells the first step of `fit`, with what was done before, from the later ones, of which there is at
    least one.
    """

    def __init__(self, updates: int, processor: Processor) -> None:
        super().__init__()
        self._left = updates
        self._processor = processor
        self._begin = time.perf_counter()
        self._is_first = True
        self.first_peak_bytes: int | None = None

    def begin(self) -> int:
        """Watch from now on, and return what is in use."""
        before = counted_peak(self._processor)
        self._processor.reset_peak()
        self.first_peak_bytes = before if self._processor.is_gpu else None
        return counted_peak(self._processor)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002  (Keras's signature)
        took = time.perf_counter() - self._begin
        if self._left == 1:
            time.sleep(min(_LONGEST_WAIT_S, max(_LEAST_WAIT_S, took)))
        self._begin = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002  (Keras's signature)
        self._left -= 1
        if self._is_first and self.first_peak_bytes is not None:
            self._processor.wait()
            self.first_peak_bytes = max(self.first_peak_bytes, counted_peak(self._processor))
            self._processor.reset_peak()
            self._left = max(1, self._left)
        self._is_first = False
        if self._left <= 0:
            self.model.stop_training = True
