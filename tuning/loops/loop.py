"""Loop: how a model is trained, the loops by name, and Material: what a loop may train with.

It imports nothing heavy; a loop's module, and TensorFlow with it, is imported when the loop is first asked for.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import keras

    from tuning.loops.arrays import DataPlacement
    from tuning.loops.callbacks import Clock
    from tuning.loops.fit_plan import FitPlan
    from tuning.loops.order import ExampleOrder
    from tuning.loops.program import Program
    from tuning.trial import Trial

AUTO = "auto"
"""Leaves the choice of a loop to what training the model first measures."""

KERAS = "keras"
"""The loop of `model.fit`, which trains whatever Keras does and which the choice falls back to."""

TIMED = ("device", "xla")
"""The loops that "auto" chooses between by timing: the first runs blocks as they are, the second compiles them."""

CLASSES = {
    KERAS: "tuning.loops.keras_loop:KerasLoop",
    "device": "tuning.loops.device_loop:DeviceLoop",
    "xla": "tuning.loops.device_loop:XlaLoop",
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


class Material:
    """One trial's model in its initial state, its data, and a program where a loop asks for one.

    Args:
        trial: What is to be trained.
        model: Built for this trial alone.
        data: The arrays and where they lie.
        signature_of: Digests what of a model and its trial would be compiled.
        lend: Makes, or finds, the program of the model.
    """

    def __init__(
        self,
        trial: Trial,
        model: keras.Model,
        data: DataPlacement,
        signature_of: Callable[[keras.Model, Trial], str],
        lend: Callable[[Material], Program],
    ) -> None:
        self.trial = trial
        self.model = model
        self.data = data
        self._signature_of = signature_of
        self._lend = lend

    @functools.cached_property
    def signature(self) -> str:
        """The digest of the model as it was built, by which programs and choices are found."""
        return self._signature_of(self.model, self.trial)

    @functools.cached_property
    def program(self) -> Program:
        """The model's program, perhaps of an earlier trial; its own model is then trained instead of `model`."""
        return self._lend(self)

    @property
    def borrowed(self) -> Program | None:
        """The program, if a loop has asked for it."""
        program: Program | None = self.__dict__.get("program")
        return program


class Loop(Protocol):
    """A way to train a model to what plain `fit` would train it to on the same order of examples."""

    @property
    def name(self) -> str:
        """What instructions and records call it."""

    def can_train(self, model: keras.Model, data: DataPlacement, callbacks: Sequence[Any]) -> str:
        """Return why it cannot train this model on these data like `fit`, in a clause; empty where it can.

        Args:
            model: Compiled.
            data: What is trained on, and where it lies.
            callbacks: The user's.
        """

    def plan(self, material: Material, order: ExampleOrder, clock: Clock) -> FitPlan:
        """Plan one training.

        Args:
            material: What to train with.
            order: The examples of every gradient.
            clock: Is told every execution of the train function.

        Raises:
            UnsupportedModelError: If only tracing the model tells that it cannot be trained so.
        """
