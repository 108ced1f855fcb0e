"""Problems for pruned_bayes.py: tables of learning curves, looked up instead of trained.

Three tables are of real trainings: perceptrons with one hidden layer, trained here in numpy. The others are made: their
final scores and seconds are those of HPOBench's networks, their courses are made up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from search_problems import BATCH_SIZE, DATA_SETS, LEARNING_RATE, Problem, hpobench
from sklearn.datasets import load_digits, make_friedman1

SEEDS, EPOCHS = 3, 18
_SIZES = (8, 16, 32, 64, 128, 256, 512)
_DECAYS = (0.0, 1e-3, 1e-2)
_WIDTHS = (8, 16, 32, 64)
_OVERHEAD = 150.0  # of an update, in examples: between those of FCNet's networks and of small perceptrons on a CPU
_MADE_EPOCHS = 27


@dataclass(frozen=True)
class CurveProblem:
    """A problem with the course of every training.

    Args:
        table: Final scores and seconds.
        curves: (..., seeds, epochs) scores, larger is better; NaN from the epoch on in which a training diverged.
        n_train: Examples in an epoch.
    """

    table: Problem
    curves: Any
    n_train: int

    @property
    def epochs(self) -> int:
        return int(self.curves.shape[-1])


def _problem(name: str, values: Mapping[str, Sequence[float]], curves: Any, seconds: Any, n_train: int) -> CurveProblem:
    final = np.where(np.isnan(curves[..., -1]), np.nanmin(curves), curves[..., -1])
    return CurveProblem(Problem(name, values, final, seconds), curves, n_train)


@dataclass(frozen=True)
class Task:
    """What a perceptron is trained on.

    Args:
        x: (n, features) training inputs.
        y: (n, outputs) training targets.
        x_val: Validation inputs.
        y_val: Validation targets.
        is_classes: Whether targets are classes, by softmax and scored by accuracy; otherwise by minus the mean square.
        optimizer: "adam" or "sgd", which has a momentum of .9.
        rates: Learning rates, ascending.
    """

    x: Any
    y: Any
    x_val: Any
    y_val: Any
    is_classes: bool
    optimizer: str
    rates: tuple[float, ...]


def digits(optimizer: str, rates: tuple[float, ...]) -> Task:
    """Handwritten digits, a tenth of the training labels by chance."""
    x, labels = load_digits(return_X_y=True)
    random = np.random.default_rng(0)
    order = random.permutation(len(x))
    x, labels = x[order] / 16.0 - 0.3, labels[order]
    noisy = np.where(random.random(1000) < 0.1, random.integers(10, size=1000), labels[:1000])
    return Task(x[:1000], np.eye(10)[noisy], x[1000:], np.eye(10)[labels[1000:]], True, optimizer, rates)


def friedman(optimizer: str, rates: tuple[float, ...]) -> Task:
    """Friedman's first regression: ten inputs, five of which count, and noise."""
    x, y = make_friedman1(2000, noise=1.0, random_state=0)
    y = ((y - y.mean()) / y.std())[:, None]
    return Task(2 * x[:1000] - 1, y[:1000], 2 * x[1000:] - 1, y[1000:], False, optimizer, rates)


TASKS: dict[str, Callable[[], Task]] = {
    "digits-adam": lambda: digits("adam", tuple(np.geomspace(1e-4, 1e-1, 10))),
    "digits-sgd": lambda: digits("sgd", tuple(np.geomspace(1e-3, 3.0, 10))),
    "friedman-adam": lambda: friedman("adam", tuple(np.geomspace(1e-4, 1e-1, 10))),
}


def trained(name: str, cache: Path | None = None) -> CurveProblem:
    """The curves of 840 settings with 3 seeds each: batch size, learning rate, width, weight decay.

    Args:
        name: One of `TASKS`.
        cache: A folder where curves are kept and found again; None for none.
    """
    task = TASKS[name]()
    kept = None if cache is None else cache / f"{name}.npy"
    if kept is not None and kept.exists():
        curves = np.load(kept)
    else:
        curves = np.stack([np.stack([train(task, size, width) for width in _WIDTHS], axis=2) for size in _SIZES])
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            np.save(kept, curves)
    values = {BATCH_SIZE: _SIZES, LEARNING_RATE: task.rates, "decay": _DECAYS, "width": _WIDTHS}
    updates = np.ceil(len(task.x) / np.array(_SIZES))
    seconds = EPOCHS * (_OVERHEAD * updates + len(task.x)) * 1e-5
    seconds = np.broadcast_to(seconds[:, None, None, None, None], curves.shape[:-1])
    return _problem(name, values, curves, seconds, len(task.x))


def train(task: Task, batch_size: int, width: int) -> Any:
    """(rates, decays, seeds, epochs) validation scores of all rates, decays and seeds at once.

    Seed s fixes initial weights and the order of the examples, as in a search. Decay is decoupled from the gradient.
    """
    shape = (len(task.rates), len(_DECAYS), SEEDS)
    starts = [_weights(np.random.default_rng([seed, width]), task, width) for seed in range(SEEDS)]
    weights = [np.broadcast_to(np.stack(each), (*shape, *each[0].shape)).copy() for each in zip(*starts, strict=True)]
    rates = np.array(task.rates, dtype=np.float32)[:, None, None, None, None]
    decays = np.array(_DECAYS, dtype=np.float32)[None, :, None, None, None]
    update = Optimizer(task.optimizer, rates, decays)
    orders = [np.random.default_rng([seed, 1]) for seed in range(SEEDS)]
    x, y = task.x.astype(np.float32), task.y.astype(np.float32)
    scores = np.empty((*shape, EPOCHS))
    with np.errstate(all="ignore"):
        for epoch in range(EPOCHS):
            order = np.stack([random.permutation(len(x)) for random in orders])
            for first in range(0, len(x), batch_size):
                batch = order[:, first : first + batch_size]
                update(weights, _gradients(task, weights, x[batch], y[batch]))
            scores[..., epoch] = _scores(task, weights)
    return np.where(np.isnan(np.cumsum(scores, axis=-1)), np.nan, scores)


def _weights(random: np.random.Generator, task: Task, width: int) -> list[Any]:
    n, m = task.x.shape[1], task.y.shape[1]
    first, second = (
        random.normal(scale=(2 / rows) ** 0.5, size=(rows, columns)) for rows, columns in ((n, width), (width, m))
    )
    some = (first, np.zeros((1, width)), second, np.zeros((1, m)))
    return [each.astype(np.float32) for each in some]


def _outputs(task: Task, weights: Sequence[Any], x: Any) -> tuple[Any, Any]:
    first, first_bias, second, second_bias = weights
    hidden = np.maximum(x @ first + first_bias, 0)
    outputs = hidden @ second + second_bias
    if task.is_classes:
        outputs = np.exp(outputs - outputs.max(axis=-1, keepdims=True))
        outputs /= outputs.sum(axis=-1, keepdims=True)
    return hidden, outputs


def _gradients(task: Task, weights: Sequence[Any], x: Any, y: Any) -> list[Any]:
    """Those of the cross entropy, or of half the mean square: they have the same form."""
    hidden, outputs = _outputs(task, weights, x)
    error = (outputs - y) / np.float32(x.shape[-2])
    back = (error @ weights[2].swapaxes(-1, -2)) * (hidden > 0)
    return [
        x.swapaxes(-1, -2) @ back,
        back.sum(axis=-2, keepdims=True),
        hidden.swapaxes(-1, -2) @ error,
        error.sum(axis=-2, keepdims=True),
    ]


def _scores(task: Task, weights: Sequence[Any]) -> Any:
    _, outputs = _outputs(task, weights, task.x_val.astype(np.float32))
    broken = ~np.isfinite(outputs).all(axis=(-1, -2))
    if task.is_classes:
        scores = (outputs.argmax(axis=-1) == task.y_val.argmax(axis=-1)).mean(axis=-1)
    else:
        scores = -np.square(outputs - task.y_val).mean(axis=(-1, -2))
    return np.where(broken, np.nan, scores)


class Optimizer:
    """Adam, or SGD with a momentum of .9, of many models at once.

    Args:
        kind: "adam" or "sgd".
        rates: Learning rates, broadcast over the models.
        decays: Weight decays, likewise.
    """

    def __init__(self, kind: str, rates: Any, decays: Any) -> None:
        self._kind, self._rates, self._decays = kind, rates, decays
        self._means: list[Any] = []
        self._squares: list[Any] = []
        self._n_updates = 0

    def __call__(self, weights: list[Any], gradients: Sequence[Any]) -> None:
        """Update weights in place."""
        if not self._means:
            self._means = [np.zeros_like(each) for each in weights]
            self._squares = [np.zeros_like(each) for each in weights]
        self._n_updates += 1
        for weight, gradient, mean, square in zip(weights, gradients, self._means, self._squares, strict=True):
            weight *= 1 - self._rates * self._decays
            mean *= np.float32(0.9)
            if self._kind == "sgd":
                mean += gradient
                weight -= self._rates * mean
            else:
                mean += np.float32(0.1) * gradient
                square *= np.float32(0.999)
                square += np.float32(0.001) * gradient * gradient
                corrected = np.float32((1 - 0.999**self._n_updates) ** 0.5 / (1 - 0.9**self._n_updates))
                weight -= self._rates * corrected * mean / (np.sqrt(square) + np.float32(1e-7))


def made(data_set: str) -> CurveProblem:
    """Courses that lead to the final accuracies of HPOBench, in which small rates and large batches learn late.

    With e epochs of E, `a(e) = final - (final - chance) * (h(e) - h(E)) / (h(0) - h(E)) + noise`, where
    `h(e) = (1 + e / tau)**-1` and `tau`, in epochs, is that of half the rise: it follows the root of the batch size and
    the inverse root of the rate, times a factor of each training, by chance. High rates wander by more, until the end.
    """
    table = hpobench(data_set)
    random = np.random.default_rng(0)
    final = table.accuracy
    names = list(table.values)
    sizes, rates = (_along(table.values[name], names.index(name), final.ndim) for name in (BATCH_SIZE, LEARNING_RATE))
    tau = np.clip(2.0 * (sizes / 32) ** 0.5 * (1e-3 / rates) ** 0.5, 0.1, 30.0)
    tau = tau * np.exp(random.normal(scale=0.3, size=final.shape))
    epochs = np.arange(1, _MADE_EPOCHS + 1) / tau[..., None]
    ends = (1 + _MADE_EPOCHS / tau[..., None]) ** -1
    left = ((1 + epochs) ** -1 - ends) / (1 - ends)
    wander = 0.02 * np.clip((rates / 1e-2) ** 0.25, 0.3, 2.0)[..., None]
    shares = 1 - np.arange(1, _MADE_EPOCHS + 1) / _MADE_EPOCHS
    noise = random.normal(size=left.shape) * wander * np.sqrt(shares)
    curves = final[..., None] - (final[..., None] - final.min()) * left + noise
    return CurveProblem(table, curves, 1000)


def _along(values: Sequence[float], axis: int, ndim: int) -> Any:
    return np.asarray(values, dtype=float).reshape([-1 if index == axis else 1 for index in range(ndim)])


PROBLEMS = (*TASKS, *(f"made-{name}" for name in DATA_SETS))


def load(name: str, cache: Path | None = None) -> CurveProblem:
    """The problem of a name."""
    return trained(name, cache) if name in TASKS else made(name.removeprefix("made-"))
