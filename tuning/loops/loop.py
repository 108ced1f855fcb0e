"""Loop: how a model is trained. Each loop is one class that says what it can train and plans how."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import keras

from tuning.loops.arrays import DataPlacement
from tuning.loops.clock import Clock
from tuning.loops.fit_plan import FitPlan
from tuning.loops.order import ExampleOrder
from tuning.loops.program import Program
from tuning.trial import Trial


@dataclass(frozen=True)
class Workbench:
    """What a loop plans one training with.

    Args:
        trial: The training.
        model: The model in its initial state, compiled.
        order: The examples of every update.
        clock: Told every execution of the train function.
        program: Returns compiled blocks around the model, those of an earlier trial if they can serve again; the model
            that is trained is then the program's.
        plain: Returns plain Keras `fit` on our order of examples.
    """

    trial: Trial
    model: keras.Model
    order: ExampleOrder
    clock: Clock
    program: Callable[[], Program]
    plain: Callable[[], FitPlan]


class Loop(Protocol):
    """A way to train a model whose results equal those of `fit`, or which says why it cannot."""

    def can_train(self, model: keras.Model, data: DataPlacement, callbacks: Sequence[Any]) -> str:
        """Return why this loop would not train like `fit`, in one line; empty where it does.

        Args:
            model: Compiled.
            data: What is trained on, and where it lies.
            callbacks: The user's.
        """

    def plan(self, bench: Workbench) -> FitPlan:
        """Return a training, ready for `model.fit`.

        Raises:
            UnsupportedModelError: If it turns out now that the model cannot be trained so.
        """
