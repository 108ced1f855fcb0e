"""Branches of a training: the same weights trained on at several batch sizes, to see where the loss suffers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from search_spaces.space import Setting, as_pairs
from tuning.instructions import Budget, Instructions
from tuning.loops.arrays import TrainingArrays
from tuning.loops.fit_plan import FitPlan, MakePlan
from tuning.loops.loop import KERAS
from tuning.loops.model_builder import ModelError
from tuning.loops.order import ExampleOrder
from tuning.loops.replicas import even_size, replicas_of
from tuning.noise_messages import Branch, Branches, BranchRequest
from tuning.trial import Trial

FRACTIONS = (0.125, 0.25, 0.5, 0.75, 1.0)
"""Shares of a branch at which its loss is taken."""
_EXAMPLES = 4096  # of a loss

State = list[npt.NDArray[Any]]


def probe_branches(make_plan: MakePlan, arrays: TrainingArrays, request: BranchRequest) -> Branches:
    """Train plain Keras for some updates, then on from there at each batch size, several times.

    Weights, the optimizer's state and its count of updates are those of the trunk at the start of every branch; its
    learning rate is the branch's own. Losses are those of validation examples.

    Args:
        make_plan: Plans a training on an order of examples.
        arrays: What is trained on.
        request: What to train.

    Raises:
        Exception: Whatever building or training raises; see `status_of_error`.
    """
    if arrays.parts == 1:
        raise ModelError("branches are compared by the loss on targets, and these data have none")
    held_out = arrays.validation_examples(_EXAMPLES)
    size, rate = request.batch_sizes[0], request.learning_rates[0]
    trunk = _planned(make_plan, arrays, request, size, rate, updates=request.updates, seed=request.seed)
    start = _train(trunk, [request.updates], held_out, request.evaluation_batch_size)[0]
    state = [np.asarray(each.numpy()) for each in _variables(trunk.model)]
    found = []
    for size, rate in zip(request.batch_sizes, request.learning_rates, strict=True):
        moments = sorted({max(1, round(fraction * request.examples / size)) for fraction in FRACTIONS})
        plan = _planned(make_plan, arrays, request, size, rate, updates=moments[-1], seed=request.seed + 1)
        for repeat in range(request.repeats):  # each goes on in the order where the last has ended
            _restore(plan.model, state, rate)
            losses = _train(plan, moments, held_out, request.evaluation_batch_size)
            found.append(Branch(size, repeat, tuple(moment * size for moment in moments), tuple(losses)))
    return Branches(request.trial_id, request.updates * request.batch_sizes[0], start, tuple(found))


def _planned(
    make_plan: MakePlan,
    arrays: TrainingArrays,
    request: BranchRequest,
    size: int,
    rate: float,
    *,
    updates: int,
    seed: int,
) -> FitPlan:
    order = ExampleOrder(arrays.n_train, size, seed)
    epochs = -(-updates // order.least_updates)
    training = Trial(
        Setting(size, rate, as_pairs(request.hyperparameters)),
        seed,
        budget=Budget(epochs),
        trial_id=request.trial_id,
        instructions=Instructions(loop=KERAS, evaluation_batch_size=request.evaluation_batch_size),
    )
    plan = make_plan(training, order)
    with plan.model.distribute_strategy.scope():
        if not plan.model.built:
            plan.model(*arrays.training_examples(1)[:1])
        plan.model.optimizer.build(plan.model.trainable_variables)
    return replace(plan, arguments={**plan.arguments, "epochs": epochs})


def _train(plan: FitPlan, moments: Sequence[int], held_out: Any, batch_size: int) -> list[float]:
    """Train up to the last of some moments, in updates from now, and return the losses at all of them."""
    arguments = {name: value for name, value in plan.arguments.items() if not name.startswith("validation")}
    losses = _LossesAt(moments, held_out, batch_size)
    plan.model.fit(**arguments, callbacks=[losses], verbose=0)
    return losses.found


def _variables(model: keras.Model) -> list[Any]:
    return [*model.variables, *model.optimizer.variables]


def _restore(model: keras.Model, state: State, rate: float) -> None:
    for variable, value in zip(_variables(model), state, strict=True):
        variable.assign(value)
    model.optimizer.learning_rate = rate


def _updates_of(model: keras.Model) -> int:
    return int(model.optimizer.iterations.numpy())


class _LossesAt(keras.callbacks.Callback):
    """Takes the loss of some examples after so many updates of a `fit`, and ends it at the last."""

    def __init__(self, moments: Sequence[int], examples: Any, batch_size: int) -> None:
        super().__init__()
        self._moments, self._examples, self._batch_size = moments, examples, batch_size
        self._begun = 0
        self.found: list[float] = []

    def on_train_begin(self, logs: Any = None) -> None:  # noqa: ARG002  (Keras's signature)
        self._begun = _updates_of(self.model)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002  (Keras's signature)
        done = _updates_of(self.model) - self._begun
        while len(self.found) < len(self._moments) and done >= self._moments[len(self.found)]:
            self.found.append(self._loss())
        if len(self.found) == len(self._moments):
            self.model.stop_training = True

    def _loss(self) -> float:
        count = len(keras.tree.flatten(self._examples)[0])
        size = even_size(self._batch_size, count, replicas_of(self.model))
        told = self.model.evaluate(*self._examples, batch_size=size, verbose=0, return_dict=True)
        return float(told["loss"])
