"""Compiled blocks of training and of validation steps over data that lie on the device."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from search_spaces.data import Arrays
from tuning.loops.arrays import as_step_data
from tuning.loops.callbacks import wait_for
from tuning.loops.order import ExampleOrder
from tuning.loops.processor import Processor
from tuning.loops.rows import gather, take

_UPDATES_PER_BLOCK = 1024  # one call of fit costs about 1 ms (measured), an update of the smallest model about 0.05 ms

Step = Callable[[Any], Any]
Function = TypeVar("Function", bound=Callable[..., Any])


class UnsupportedModelError(ValueError):
    """A model whose steps cannot run in a block; the message says why."""


class UncompilableModelError(UnsupportedModelError):
    """A model that XLA refuses; its blocks can run as they are."""


@dataclass(frozen=True)
class BlockShape:
    """How an epoch is divided.

    Args:
        count: Blocks in an epoch.
        length: The most updates of one.
    """

    count: int
    length: int


def block_shape(order: ExampleOrder, *, whole: bool = False) -> BlockShape:
    """Return blocks as equal as can be, which hold an epoch; whole ones may leave less than a handful of updates over.

    Args:
        order: The order of the examples, which tells the updates of an epoch.
        whole: Whether every block must be full.

    >>> block_shape(ExampleOrder(2501, 1, seed=0))
    BlockShape(count=3, length=834)
    >>> block_shape(ExampleOrder(2501, 1, seed=0), whole=True)
    BlockShape(count=3, length=833)
    """
    count = -(-order.most_updates // _UPDATES_PER_BLOCK)
    return BlockShape(count, order.least_updates // count if whole else -(-order.most_updates // count))


class TracedStep:
    """A training or validation step as a `tf.function`, traced for one batch size.

    Tracing creates every variable (weights, optimizer, metrics) with its initial value and changes none. The step
    runs as Keras 3.15 runs it: unconverted by autograph, and compiled by XLA on its own if the model says so.

    Args:
        step: `model.train_step` or `model.test_step`.
        data: `(x,)`, `(x, y)` or `(x, y, sample_weight)` as tensors on the device.
        batch_size: Examples per step; None where it varies.
        jit_compile: Whether XLA compiles the step.

    Raises:
        UnsupportedModelError: If the logs of a step have no fixed shape.
    """

    def __init__(self, step: Step, data: tuple[Arrays, ...], batch_size: int | None, *, jit_compile: bool) -> None:
        self.data = as_step_data(data)
        batch = keras.tree.map_structure(
            lambda leaf: tf.TensorSpec((batch_size, *leaf.shape[1:]), leaf.dtype), self.data
        )
        self._function = tf.function(
            _unconverted(lambda examples: step(examples)), input_signature=[batch], jit_compile=jit_compile or None
        )
        logs = self._function.get_concrete_function().structured_outputs
        self._log_specs = keras.tree.map_structure(_spec, logs)

    def __call__(self, select: Callable[[tf.Tensor], tf.Tensor]) -> Any:
        """Inside a graph: one step on what `select` takes of every array; returns its logs."""
        return self._function(keras.tree.map_structure(select, self.data))

    def repeat(self, select: Callable[[tf.Tensor, tf.Tensor], tf.Tensor], count: tf.Tensor) -> Any:
        """Inside a graph: one step on `select(i, array)` for every i < count; returns the last logs."""

        def body(i: tf.Tensor, _: Any) -> tuple[tf.Tensor, Any]:
            return i + 1, self(lambda leaf: select(i, leaf))

        zeros = keras.tree.map_structure(lambda spec: tf.zeros(spec.shape, spec.dtype), self._log_specs)
        _, last = tf.while_loop(lambda i, _: i < count, body, (tf.constant(0), zeros), parallel_iterations=1)
        return last


class TrainBlock:
    """Optimizer updates in one call of one `tf.function`: the batch of each is gathered on the device.

    The rows have one static shape, so every block and every trial of a batch size runs the same program. How many
    updates a call does is a tensor; but XLA on a GPU would return to the host for it at every update (its loop copies
    the condition there and waits), so that such a block always does all of its updates.

    Args:
        step: The training step at the block's batch size.
        batch_size: Examples per update.
        length: The most updates of one call.
        jit_compile: Whether XLA compiles the whole block.
        processor: Where it runs.
    """

    def __init__(
        self, step: TracedStep, batch_size: int, length: int, *, jit_compile: bool, processor: Processor
    ) -> None:
        self.length = length
        self.batch_size = batch_size
        self.is_whole = jit_compile and processor.is_gpu
        # An int32 lives in the host's memory even where a GPU trains, an int64 on the card.
        self._row_type = np.dtype(np.int64 if processor.is_gpu else np.int32)
        self._processor = processor

        @_unconverted
        def block(rows: tf.Tensor, *count: tf.Tensor) -> Any:
            return step.repeat(lambda i, leaf: gather(leaf, rows[i]), count[0] if count else tf.constant(length))

        counts = [] if self.is_whole else [tf.TensorSpec((), tf.int32)]
        self.concrete = tf.function(block, jit_compile=jit_compile or None).get_concrete_function(
            tf.TensorSpec((length, batch_size), self._row_type), *counts
        )

    @property
    def shortest(self) -> int:
        """The fewest updates of one call."""
        return self.length if self.is_whole else 1

    def __call__(self, rows: tf.Tensor, count: int) -> Any:
        """Train on the first `count` of `rows`, as `padded` returns them, and return the last update's logs.

        Raises:
            ValueError: If a whole block is to do a part.
        """
        if not self.is_whole:
            return self.concrete(rows, tf.constant(count))
        if count != self.length:
            raise ValueError(f"A whole block does {self.length} updates; got {count}. Use the plain block for a part.")
        return self.concrete(rows)

    def compile(self, *, may_train: bool) -> bool:
        """Compile, and return whether all is compiled that a training needs.

        On a CPU a call of no updates does, which changes no variable. On a GPU cuDNN tries its algorithms, and XLA
        compiles what is inside, only when an update is done.

        Args:
            may_train: Whether updates may be done, because somebody restores the variables.
        """
        updates = self.shortest if self._processor.is_gpu and may_train else 0
        if self.is_whole and not updates:
            return False
        wait_for(self(self.padded(np.zeros((updates, self.batch_size), np.int32)), updates))
        self._processor.wait()
        return updates > 0 or not self._processor.is_gpu

    def padded(self, rows: npt.NDArray[np.int32]) -> tf.Tensor:
        """At most `length` rows, filled up to that many."""
        return tf.constant(np.pad(rows, ((0, self.length - len(rows)), (0, 0))).astype(self._row_type, copy=False))


class EvaluationBlock:
    """One pass over the whole validation set in one call, in batches of one size and the remainder.

    Args:
        step: `model.test_step`.
        data: The validation part as tensors on the device.
        n_examples: Its length.
        batch_size: Examples per validation step.
        jit_compile: Whether XLA compiles each step, as the model says.

    Raises:
        UnsupportedModelError: If the logs of a step have no fixed shape.
    """

    def __init__(
        self, step: Step, data: tuple[Arrays, ...], n_examples: int, batch_size: int, *, jit_compile: bool
    ) -> None:
        full, rest = divmod(n_examples, batch_size)
        # Keras 3.15 weighs the loss of one of several outputs by the batch's length only where that is static, which
        # it is in `fit` if the batch size divides the data.
        traced = TracedStep(step, data, None if full and rest else min(batch_size, n_examples), jit_compile=jit_compile)

        @_unconverted
        def evaluation() -> Any:
            logs = None
            if full:
                logs = traced.repeat(lambda i, leaf: take(leaf, i * batch_size, batch_size), tf.constant(full))
            if rest:
                logs = traced(lambda leaf: take(leaf, full * batch_size, rest))
            return logs

        self.concrete = tf.function(evaluation).get_concrete_function()

    def __call__(self) -> Any:
        """Validate once and return the last step's logs."""
        return self.concrete()


def _unconverted(function: Function) -> Function:
    """Keep autograph out, as Keras does around its steps."""
    marked: Function = tf.autograph.experimental.do_not_convert(function)
    return marked


def _spec(log: Any) -> tf.TensorSpec:
    if not isinstance(log, tf.Tensor) or not log.shape.is_fully_defined():
        raise UnsupportedModelError(f"a step must log tensors of a fixed shape; got {log}")
    return tf.TensorSpec(log.shape, log.dtype)


_SHARE_OF_TRIAL = 0.02
_CHUNKS = 3
_CHUNK_SECONDS = 0.1
LEAST_UPDATES = 80
"""Two updates of each of two loops are 5 % of a trial of so many; in a shorter one nothing is timed."""


def seconds_per_update(
    run: Callable[[int], object],
    updates_of_trial: int,
    longest: int,
    now: Callable[[], float] = time.perf_counter,
    *,
    shortest: int = 1,
) -> float:
    """Return the seconds of one update: the least mean of three chunks, after a warm-up of one.

    The least, because whatever else the machine does can only slow a chunk down. A chunk takes up to 0.1 s, and all
    together at most 2 % of the trial's updates; where that is less than three, one update is timed.

    Args:
        run: Does so many updates and returns when the device has done them.
        updates_of_trial: The updates of the trial whose loop is being chosen.
        longest: The most updates that `run` can do in one call.
        now: The clock, in seconds.
        shortest: The fewest that it can do.
    """

    def timed(updates: int) -> float:
        begin = now()
        run(updates)
        return (now() - begin) / updates

    run(shortest)
    first = timed(shortest)
    affordable = min(longest, int(updates_of_trial * _SHARE_OF_TRIAL / _CHUNKS))
    if affordable < shortest:
        return first
    chunk = max(shortest, min(affordable, int(_CHUNK_SECONDS / max(first, 1e-9))))
    return min(timed(chunk) for _ in range(_CHUNKS))
