"""Loop: how a model is trained; and Material: what a loop may train with."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import keras

from tuning.loops.arrays import DataPlacement
from tuning.loops.clock import Clock
from tuning.loops.fit_plan import FitPlan
from tuning.loops.order import ExampleOrder
from tuning.loops.program import Program
from tuning.trial import Trial


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
