"""The `xla` loop: the blocks of the `device` loop, each compiled by XLA as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from tuning.loops.arrays import DataPlacement
from tuning.loops.device_loop import DeviceLoop


class XlaLoop(DeviceLoop):
    """Trains blocks that XLA compiles; random layers draw other numbers there."""

    name = "xla"
    jit_compile = True

    def can_train(self, model: keras.Model, data: DataPlacement, callbacks: Sequence[Any]) -> str:
        """Return why blocks cannot be compiled for this model and data; empty where they can."""
        if data.has_text:
            return "text can be given neither to XLA nor to a GPU"
        return super().can_train(model, data, callbacks)
