"""Which loop trains a batch size fastest: the record of a choice, and when trying XLA is worth its compile time."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf

from tuning.loops.blocks import LEAST_UPDATES, TrainBlock, block_shape, seconds_per_update
from tuning.loops.callbacks import wait_for
from tuning.loops.loop import TIMED
from tuning.loops.order import ExampleOrder
from tuning.loops.processor import Processor
from tuning.loops.program import Program

_SHARE_OF_TRIAL = 0.03  # what a failed attempt may cost of the trial's predicted time; timing the blocks takes 0.02
_LEAST_RATIO = 0.25  # the best that XLA is hoped to do to a step's time, before anything was measured
_REMEASURE_FACTOR = 4


@dataclass(frozen=True)
class LoopChoice:
    """The loop chosen for a model at a batch size, and what it was chosen by; small and picklable.

    Args:
        batch_size: Examples per update.
        loop: The name of the loop.
        updates: Optimizer updates of the trainings that it was chosen for.
        seconds_per_update: Steady seconds of an update, by loop, where timed; the plain one first.
        compile_seconds: Seconds of tracing and compiling, by loop, where tried; the plain one first.
        reason: Why, in a few words.
    """

    batch_size: int
    loop: str
    updates: int
    seconds_per_update: Mapping[str, float] = field(default_factory=dict)
    compile_seconds: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""

    @property
    def ratio(self) -> float | None:
        """The time of a compiled update relative to a plain one; None if not both were timed."""
        times = list(self.seconds_per_update.values())
        return times[1] / times[0] if len(times) > 1 else None

    @property
    def compiler_seconds(self) -> float | None:
        """The seconds that compiling took or was given; None if it was not tried."""
        seconds = list(self.compile_seconds.values())
        return seconds[1] if len(seconds) > 1 else None

    @property
    def measurements(self) -> dict[str, float]:
        """What the choice was made by, under the names that it is logged by."""
        steps = {f"seconds_per_update_{loop}": value for loop, value in self.seconds_per_update.items()}
        return steps | {f"compile_seconds_{loop}": value for loop, value in self.compile_seconds.items()}

    def serves(self, updates: int) -> bool:
        """Return whether the choice holds for a trial of so many updates too.

        A loop that was never timed against the other may lose in a much longer trial.
        """
        return self.compiler_seconds is not None or updates <= _REMEASURE_FACTOR * self.updates


@dataclass(frozen=True)
class XlaForecast:
    """What trying XLA is expected to cost and to bring.

    Args:
        compile_seconds: Expected seconds of compiling.
        ratio: Expected time of an update relative to the device loop.
        device_seconds: Predicted seconds of all trainings under the device loop.
    """

    compile_seconds: float
    ratio: float
    device_seconds: float

    @property
    def saved_seconds(self) -> float:
        """Training seconds that XLA would save in these trainings, before its compile time."""
        return max(0.0, self.device_seconds * (1 - self.ratio))

    @property
    def limit_seconds(self) -> float:
        """How long to wait for the compiler at most: what it can save, or a small share of the trainings."""
        return max(self.saved_seconds, _SHARE_OF_TRIAL * self.device_seconds)

    @property
    def is_worth_trying(self) -> bool:
        """Whether the compile pays for itself in these trainings, or costs a small share of it if it brings nothing."""
        return self.compile_seconds <= self.limit_seconds


def forecast(
    operations: int,
    updates: int,
    seconds_per_update: float,
    batch_size: int,
    known: Iterable[LoopChoice],
    processor: Processor,
) -> XlaForecast:
    """Predict what XLA would do, from the same model at other batch sizes, else from the size of its graph.

        seconds of trainings  = updates * seconds_per_update
        expected ratio        = the nearest known batch size's, else max(1/4, 1 - operations * overhead / update)
        expected compile time = the longest known, else operations * compile seconds of one

    XLA saves the overhead of executing operations one by one, so it gains less, relatively, the larger the batch.

    Args:
        operations: In the traced graph.
        updates: Optimizer updates of all trainings that the choice is for.
        seconds_per_update: The seconds of a plain update, as timed.
        batch_size: Examples per update.
        known: Choices made for the same model.
        processor: Tells the overhead and the compile seconds of an operation.
    """
    choices = list(known)
    compiled = [choice.compiler_seconds for choice in choices if choice.compiler_seconds is not None]
    compared = [choice for choice in choices if choice.ratio is not None]
    nearest = min(compared, key=lambda choice: abs(math.log2(choice.batch_size / batch_size)), default=None)
    overhead = operations * processor.overhead_seconds_per_operation / seconds_per_update
    return XlaForecast(
        compile_seconds=max(compiled, default=operations * processor.compile_seconds_per_operation),
        ratio=nearest.ratio if nearest and nearest.ratio else max(_LEAST_RATIO, 1 - overhead),
        device_seconds=updates * seconds_per_update,
    )


class CompilerTimeoutError(RuntimeError):
    """XLA was still compiling when waiting longer could not pay; the program is the compiler's and must be left.

    Args:
        seconds: How long it was waited for.
        compiler: The thread in which it goes on.
    """

    def __init__(self, seconds: float, compiler: threading.Thread) -> None:
        super().__init__(f"XLA did not compile within {seconds:.1f} s")
        self.seconds, self.compiler = seconds, compiler


def choose_loop(
    program: Program, order: ExampleOrder, updates: int, known: Iterable[LoopChoice], *, refusal: str = ""
) -> LoopChoice:
    """Time plain blocks and, if that is likely to pay in so many updates, compiled ones; no variable is changed.

    Convolutions are never given to XLA on a CPU, where they run 5 to 40 times slower (measured).

    Args:
        program: In the trial's initial state.
        order: The order of the trial's examples.
        updates: The updates of all the trainings that the choice is for.
        known: What was chosen for the same model at other batch sizes.
        refusal: Why the compiled loop cannot train this; empty where it can.

    Raises:
        CompilerTimeoutError: If XLA took longer than it could save; choose again with a new program.
    """
    plain_name, compiled_name = TIMED
    plain = _Candidate(program, order, updates, plain_name, jit_compile=False)
    plain.compile()
    why_not = refusal or _why_plain(program, updates)
    if why_not:
        return _choice(order, updates, plain_name, [plain], why_not)
    plain.time()
    hoped = forecast(program.facts.size, updates, plain.seconds, order.batch_size, known, program.processor)
    if not hoped.is_worth_trying:
        return _choice(order, updates, plain_name, [plain], "compiling with XLA would not pay")
    compiled = _Candidate(program, order, updates, compiled_name, jit_compile=True)
    if not compiled.try_compiling(hoped):
        return _choice(order, updates, plain_name, [plain, compiled], "XLA cannot compile it")
    compiled.time()
    winner, loser = (compiled, plain) if compiled.seconds < plain.seconds else (plain, compiled)
    if not winner.needs_plain_block:
        program.forget_block(order.batch_size, jit_compile=loser.jit_compile)
    return _choice(order, updates, winner.loop, [plain, compiled], "the faster of both")


def plain_choice_after_timeout(
    program: Program, order: ExampleOrder, updates: int, error: CompilerTimeoutError
) -> LoopChoice:
    """Return the choice of plain blocks where the compiler took too long; it is not tried again at this batch size."""
    plain, compiled = TIMED
    seconds = {plain: program.compile_seconds[order.batch_size, False], compiled: error.seconds}
    reason = f"{error}; a training beside the compiler is not timed"
    return LoopChoice(order.batch_size, plain, updates, {}, seconds, reason)


class _Candidate:
    """One loop under trial."""

    def __init__(self, program: Program, order: ExampleOrder, updates: int, loop: str, *, jit_compile: bool) -> None:
        self.loop = loop
        self.jit_compile = jit_compile
        self.seconds = float("nan")
        self._program = program
        self._order = order
        self._updates = updates
        self._length = block_shape(order, whole=jit_compile and program.processor.is_gpu).length

    @property
    def compile_seconds(self) -> float:
        return self._program.compile_seconds[self._order.batch_size, self.jit_compile]

    def compile(self) -> TrainBlock:
        return self._program.compiled_block(self._order.batch_size, self._length, jit_compile=self.jit_compile)

    @property
    def needs_plain_block(self) -> bool:
        """Whether its blocks are whole, so that plain ones train what an epoch leaves over."""
        return self.compile().is_whole

    def try_compiling(self, hoped: XlaForecast) -> bool:
        """Compile within the seconds that it may take; return False if XLA refuses the model."""
        self._program.block(self._order.batch_size, self._length, jit_compile=self.jit_compile)
        error = run_within(hoped.limit_seconds, self.compile)
        if isinstance(error, tf.errors.OpError):
            return False
        if error is not None:
            raise error
        return True

    def time(self) -> None:
        """Time a few updates and restore the program's state."""
        block = self.compile()
        rows = block.padded(self._order.rows(0)[: block.length])
        longest = min(block.length, self._order.updates_in(0))
        snapshot = self._program.snapshot()
        try:
            self.seconds = seconds_per_update(
                lambda updates: wait_for(block(rows, updates)), self._updates, longest, shortest=block.shortest
            )
        finally:
            self._program.restore(snapshot)


def run_within(seconds: float, function: Callable[[], object]) -> Exception | None:
    """Run a function that cannot be interrupted, and return the error that it raised, if any.

    Raises:
        CompilerTimeoutError: If it has not returned within so many seconds; it then goes on by itself.
    """
    errors: list[Exception] = []

    def call() -> None:
        try:
            function()
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=call, name="xla-compiler", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise CompilerTimeoutError(seconds, thread)
    return errors[0] if errors else None


def _why_plain(program: Program, updates: int) -> str:
    """Return why XLA is out of the question; empty where it may be tried."""
    if updates < LEAST_UPDATES:
        return "too few updates to time"
    if program.facts.convolves and not program.processor.is_gpu:
        return "XLA is slow at convolutions on a CPU"
    if program.facts.uses_cudnn_recurrences:
        return "XLA cannot compile cuDNN's recurrences"
    if not program.reusable:
        return "the program keeps state that timing would disturb"
    return ""


def _choice(order: ExampleOrder, updates: int, loop: str, candidates: list[_Candidate], reason: str) -> LoopChoice:
    return LoopChoice(
        batch_size=order.batch_size,
        loop=loop,
        updates=updates,
        seconds_per_update={each.loop: each.seconds for each in candidates if np.isfinite(each.seconds)},
        compile_seconds={each.loop: each.compile_seconds for each in candidates},
        reason=reason,
    )
