"""The loops by name: what the command line shows, what a trial's instructions name, and where each class is.

It imports nothing heavy; a loop's module, and TensorFlow with it, is imported when the loop is first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tuning.loops.loop import Loop

AUTO = "auto"
"""Leaves the choice of a loop to what training the model first measures."""

KERAS = "keras"
"""The loop of `model.fit`, which trains whatever Keras does and which the choice falls back to."""

TIMED = ("device", "xla")
"""The loops that "auto" chooses between by timing: the first runs blocks as they are, the second compiles them."""

CLASSES = {
    KERAS: "tuning.loops.keras_loop:KerasLoop",
    "device": "tuning.loops.device_loop:DeviceLoop",
    "xla": "tuning.loops.xla_loop:XlaLoop",
}
"""The module and the class of every loop. A further loop is a class with the methods of `Loop`, and a line here."""

LOOPS = tuple(CLASSES)
LOOP_CHOICES = (AUTO, *LOOPS)


def find_loop(name: str) -> Loop:
    """Return the loop of a name.

    Raises:
        ValueError: If there is none.
    """
    if name not in CLASSES:
        raise ValueError(f"loop must be one of {', '.join((AUTO, *CLASSES))}; got {name!r}.")
    module, _, attribute = CLASSES[name].partition(":")
    loop: Loop = getattr(importlib.import_module(module), attribute)()
    return loop
