"""The loops by name. Nothing here loads TensorFlow, so that the command line can list them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tuning.loops.loop import Loop

AUTO = "auto"
"""Asks for the loop that is measured to be fastest."""

KERAS, DEVICE, XLA = "keras", "device", "xla"

_HOMES = {
    KERAS: "tuning.loops.keras_loop:KerasLoop",
    DEVICE: "tuning.loops.device_loop:DeviceLoop",
    XLA: "tuning.loops.device_loop:XlaLoop",
}

LOOPS = tuple(_HOMES)
"""A further loop is a class in a file of its own and a line above."""
LOOP_CHOICES = (AUTO, *LOOPS)


def loop_named(name: str) -> Loop:
    """Return the loop of a name.

    Raises:
        ValueError: If there is none.
    """
    if name not in _HOMES:
        raise ValueError(f"loop must be one of {', '.join((AUTO, *_HOMES))}; got {name!r}.")
    module, _, attribute = _HOMES[name].partition(":")
    loop: Loop = getattr(importlib.import_module(module), attribute)()
    return loop
