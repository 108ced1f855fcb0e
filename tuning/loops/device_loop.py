"""The `device` loop: blocks of updates on data that lie on the device, driven by Keras's own `fit`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tuning.loops.arrays import DataPlacement
from tuning.loops.blocks import TrainBlock, UncompilableModelError, block_shape
from tuning.loops.callbacks import Clock
from tuning.loops.failures import one_line
from tuning.loops.fit_plan import Block, FitPlan, install, placeholder_data
from tuning.loops.keras_loop import is_distributed
from tuning.loops.loop import Material
from tuning.loops.order import ExampleOrder
from tuning.loops.program import Program
from tuning.loops.user_callbacks import acting_on_batches


class DeviceLoop:
    """Trains blocks of updates in one call each, on arrays that lie on the device."""

    name = "device"
    jit_compile = False

    def can_train(self, model: keras.Model, data: DataPlacement, callbacks: Sequence[Any]) -> str:
        """Return why blocks cannot be what `fit` does for this model, data and callbacks; empty where they can."""
        if acting := acting_on_batches(callbacks):
            return f"{acting[0]} acts on every batch, and a block has many"
        if model.run_eagerly:
            return "it is compiled with run_eagerly=True"
        if is_distributed(model):
            return "it trains under a tf.distribute strategy"
        for name in ("make_train_function", "make_test_function"):
            if getattr(type(model), name) is not getattr(keras.Model, name):
                return f"it overrides {name}"
        if not data.arrays.hold_examples:
            return "its examples are loaded when they are needed, and do not lie on the device"
        if data.has_text and data.processor.is_gpu:
            return "text can be given neither to XLA nor to a GPU"
        if not data.fits_on_device:
            return f"{data.arrays.nbytes} bytes of data are too many beside a model"
        return ""

    def plan(self, material: Material, order: ExampleOrder, clock: Clock) -> FitPlan:
        """Plan one training in blocks."""
        return _block_plan(material.program, order, clock, self.name, jit_compile=self.jit_compile)


def _block_plan(program: Program, order: ExampleOrder, clock: Clock, loop: str, *, jit_compile: bool) -> FitPlan:
    """Return a `fit` whose steps are blocks of updates, and whose validation is one call.

    Callbacks see a block as one batch, as they do with Keras's `steps_per_execution`.

    Args:
        program: Holds the model, in its initial state, and the compiled blocks.
        order: The examples of every update.
        clock: Times the blocks.
        loop: Its name.
        jit_compile: Whether XLA compiles whole blocks.
    """
    blocks = block_shape(order, whole=jit_compile and program.processor.is_gpu)
    block = program.compiled_block(order.batch_size, blocks.length, jit_compile=jit_compile)
    rest = block
    if block.is_whole and blocks.count * blocks.length != order.most_updates:
        rest = program.compiled_block(order.batch_size, blocks.length, jit_compile=False)
    if program.is_compiled(order.batch_size, jit_compile=jit_compile):
        clock.expect_no_compiling()
    model = program.model
    steps = BlockSteps(block, rest, blocks.count, order, clock, ahead=program.processor.is_gpu)
    install(model, "train", steps)
    install(model, "test", program.evaluation)
    arguments = {
        "x": placeholder_data(),
        "shuffle": False,
        "steps_per_epoch": steps.in_epoch,
        "validation_data": placeholder_data(),
        "validation_steps": 1,
    }
    settings = {"jit_compile": jit_compile or bool(model.jit_compile), "steps_per_execution": blocks.length}
    rows = block.padded(order.rows(0)[: blocks.length])
    timed = Block(
        lambda updates: block(rows, updates), longest=min(blocks.length, order.updates_in(0)), shortest=block.shortest
    )
    return FitPlan(model, arguments, loop, settings=settings, block=timed)


class BlockSteps:
    """The blocks of each epoch in turn.

    Args:
        block: Trains up to `block.length` updates per call.
        rest: Trains what a whole block cannot: the few updates that are left of an epoch. Else it is `block`.
        blocks: Of `block` in an epoch.
        order: The examples of every update.
        clock: Times every block.
        ahead: Whether the next epoch's rows are drawn while the device still trains, as a GPU does.
    """

    def __init__(
        self,
        block: TrainBlock,
        rest: TrainBlock,
        blocks: int,
        order: ExampleOrder,
        clock: Clock,
        *,
        ahead: bool = False,
    ) -> None:
        self._ahead = ahead
        self._block, self._rest = block, rest
        self._blocks = blocks
        self._order = order
        self._clock = clock
        self._epoch = 0
        self._waiting: list[tuple[TrainBlock, tf.Tensor, int]] = []
        self._logs: Any = None

    @property
    def in_epoch(self) -> int:
        """Steps of an epoch."""
        return self._blocks + (self._rest is not self._block)

    def __call__(self) -> Any:
        """Train one block of the running epoch and return the logs of its last update.

        Drawing an epoch's rows belongs to its seconds, as shuffling does in `fit`.
        """
        updates = self._waiting[0][2] if self._waiting else min(self._block.length, self._order.updates_in(self._epoch))
        if updates:  # the last block is empty where an epoch has one update less and that was all it held
            self._logs = self._clock.run(self._next, updates)
        else:
            self._waiting.pop(0)
        if not self._waiting:
            self._epoch += 1
            if self._ahead:
                self._waiting = self._blocks_of(self._epoch)
            self._clock.end_epoch(self._logs)
        return self._logs

    def _next(self) -> Any:
        self._waiting = self._waiting or self._blocks_of(self._epoch)
        block, rows, updates = self._waiting.pop(0)
        return block(rows, updates)

    def _blocks_of(self, epoch: int) -> list[tuple[TrainBlock, tf.Tensor, int]]:
        rows, length = self._order.rows(epoch), self._block.length
        parts = [rows[i * length : (i + 1) * length] for i in range(self.in_epoch)]
        blocks = [self._block] * self._blocks + [self._rest]
        return [(block, block.padded(part), len(part)) for block, part in zip(blocks, parts, strict=False)]


class XlaLoop(DeviceLoop):
    """Trains blocks that XLA compiles; random layers draw other numbers there."""

    name = "xla"
    jit_compile = True

    def can_train(self, model: keras.Model, data: DataPlacement, callbacks: Sequence[Any]) -> str:
        """Return why blocks cannot be compiled for this model and data; empty where they can."""
        if data.has_text and data.arrays.hold_examples:
            return "text can be given neither to XLA nor to a GPU"
        return super().can_train(model, data, callbacks)

    def plan(self, material: Material, order: ExampleOrder, clock: Clock) -> FitPlan:
        """Plan one training in compiled blocks.

        Raises:
            UncompilableModelError: If XLA cannot compile the model.
        """
        try:
            return super().plan(material, order, clock)
        except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError) as error:
            raise UncompilableModelError(f"XLA cannot compile it ({one_line(error)})") from error
