"""Chooses between the device loop and XLA for one model at one batch size, by timing both if that can pay."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

import numpy as np
import tensorflow as tf

from tuning.training.block_timing import LEAST_UPDATES, seconds_per_update
from tuning.training.blocks import TrainBlock, block_shape
from tuning.training.clock import wait_for
from tuning.training.loop_choice import LoopChoice, XlaForecast, forecast
from tuning.training.order import ExampleOrder
from tuning.training.program import Program


class CompilerTimeoutError(RuntimeError):
    """XLA was still compiling when waiting longer could not pay; the program is the compiler's and must be left.

    Args:
        seconds: How long it was waited for.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(f"XLA did not compile within {seconds:.1f} s")
        self.seconds = seconds


def choose_loop(
    program: Program, signature: str, order: ExampleOrder, updates: int, known: Iterable[LoopChoice]
) -> LoopChoice:
    """Time the device loop and, if that is likely to pay in so many updates, XLA; the program's state stays the same.

    Convolutions are never given to XLA on a CPU, where they run 5 to 40 times slower (measured).

    Args:
        program: In the trial's initial state.
        signature: Of its model.
        order: Of the trial.
        updates: Of all the trainings that the choice is for.
        known: What was chosen for the same model at other batch sizes.

    Raises:
        CompilerTimeoutError: If XLA took longer than it could save; choose again with a new program.
    """
    device = _Candidate(program, order, updates, "device")
    device.compile()
    why_not = _why_device(program, updates)
    if why_not:
        return _choice(signature, order, updates, "device", [device], why_not)
    device.time()
    hoped = forecast(program.facts.size, updates, device.seconds, order.batch_size, known)
    if not hoped.is_worth_trying:
        return _choice(signature, order, updates, "device", [device], "compiling with XLA would not pay")
    xla = _Candidate(program, order, updates, "xla")
    if not xla.try_compiling(hoped):
        return _choice(signature, order, updates, "device", [device, xla], "XLA cannot compile it")
    xla.time()
    winner, loser = (xla, device) if xla.seconds < device.seconds else (device, xla)
    program.forget_block(order.batch_size, jit_compile=loser.jit_compile)
    return _choice(signature, order, updates, winner.loop, [device, xla], "the faster of both")


class _Candidate:
    """One loop under trial."""

    def __init__(self, program: Program, order: ExampleOrder, updates: int, loop: str) -> None:
        self.loop = loop
        self.jit_compile = loop == "xla"
        self.seconds = float("nan")
        self._program = program
        self._order = order
        self._updates = updates
        self._length = block_shape(order.most_updates)[1]

    @property
    def compile_seconds(self) -> float:
        return self._program.compile_seconds[self._order.batch_size, self.jit_compile]

    def compile(self) -> TrainBlock:
        return self._program.compiled_block(self._order.batch_size, self._length, jit_compile=self.jit_compile)

    def try_compiling(self, hoped: XlaForecast) -> bool:
        """False if XLA refuses the model."""
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
            self.seconds = seconds_per_update(lambda updates: wait_for(block(rows, updates)), self._updates, longest)
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
        raise CompilerTimeoutError(seconds)
    return errors[0] if errors else None


def _why_device(program: Program, updates: int) -> str:
    """Why XLA is out of the question, or nothing."""
    on_gpu = bool(tf.config.list_logical_devices("GPU"))
    if updates < LEAST_UPDATES:
        return "too few updates to time"
    if program.facts.convolves and not on_gpu:
        return "XLA is slow at convolutions on a CPU"
    if not program.reusable:
        return "the program keeps state that timing would disturb"
    return ""


def _choice(
    signature: str, order: ExampleOrder, updates: int, loop: str, candidates: list[_Candidate], reason: str
) -> LoopChoice:
    return LoopChoice(
        signature=signature,
        batch_size=order.batch_size,
        loop=loop,
        updates=updates,
        seconds_per_update={each.loop: each.seconds for each in candidates if np.isfinite(each.seconds)},
        compile_seconds={each.loop: each.compile_seconds for each in candidates},
        reason=reason,
    )
