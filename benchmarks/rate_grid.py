"""How much of the time to a target is owed to learning rates that were not tried: digits, Adam and SGD, brute force.

    python benchmarks/rate_grid.py [--seeds 3]          # about two minutes

A perceptron 64-64-10 in NumPy is trained on scikit-learn's digits to a validation accuracy, at each batch size with
each rate of a fine grid, 1.32 (3 to the power 1/4) apart, and the geometric mean of the examples over the seeds is the
truth. A search sees one seed: from any phase of the grid it tries rates 3 times apart, moves outward while the best is
at an edge, and takes the best ("steps"); or it then tries the two rates half a step from the best, too ("half steps").
Printed is how much longer the rate taken needs than the best one, and how far the ratio of the times of two batch sizes
is off.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_digits

Array = npt.NDArray[np.float64]
SIZES = (8, 16, 32, 64, 128)
FINE = 3 ** (1 / 4)
CENTRES = {"adam": 2e-3, "sgd": 0.05}  # at batch size 32
EXPONENTS = {"adam": 0.5, "sgd": 1.0}
SPAN = 9  # fine steps to each side of the centre
TARGET, EPOCHS, CHECKS = 0.95, 16, 4


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=3, help="trainings per rate that make the truth (default 3)")
    parser.add_argument("--optimizers", default="adam,sgd")
    options = parser.parse_args(arguments)
    print(f"{'optimizer':10s}{'grid':12s}{'mean loss':>10s}{'worst':>8s}{'pairs off by > 5 %':>20s}{'> 15 %':>8s}")
    for optimizer in options.optimizers.split(","):
        logs = np.array([[examples(optimizer, size, seed) for seed in range(options.seeds)] for size in SIZES])
        for name, halves in (("steps", False), ("half steps", True)):
            losses = np.array([lost(logs, phase, halves) for phase in range(4)])
            print(f"{optimizer:10s}{name:12s}{summary(losses)}", flush=True)
    return 0


def summary(losses: Array) -> str:
    """The columns of a line: losses are ln of times over the best ones, (phases, sizes)."""
    pairs = np.array([row[a] - row[b] for row in losses for a, b in itertools.combinations(range(len(SIZES)), 2)])
    off = [100 * float(np.mean(np.abs(pairs) > math.log(limit))) for limit in (1.05, 1.15)]
    mean, worst = (100 * math.expm1(value) for value in (losses.mean(), losses.max()))
    return f"{mean:9.1f}%{worst:7.1f}%{off[0]:19.0f}%{off[1]:7.0f}%"


def lost(logs: Array, phase: int, halves: bool) -> list[float]:
    """What the rate taken costs at each batch size, in ln of the time, for one phase of the grid."""
    found = []
    for each in logs:
        truth, seen = each.mean(axis=0), each[0]
        taken = search(seen, SPAN - 2 + phase, halves)
        found.append(float(truth[taken] - truth.min()))
    return found


def search(seen: Array, centre: int, halves: bool) -> int:
    """The index of the rate that a search takes: three rates 4 fine steps apart, outward, then half-way between."""
    tried = [centre - 4, centre, centre + 4]
    while True:
        best = min(tried, key=lambda i: seen[i])
        beyond = best - 4 if best == min(tried) else best + 4 if best == max(tried) else None
        if beyond is None or not 0 <= beyond < len(seen):
            break
        tried.append(beyond)
    if halves:
        tried += [i for i in (best - 2, best + 2) if 0 <= i < len(seen)]
    return min(tried, key=lambda i: seen[i])


def examples(optimizer: str, size: int, seed: int) -> Array:
    """ln(examples to the target) for every rate of the fine grid, trained side by side; of twice the cap if missed."""
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.data))
    x, y = (data.data / 16)[order], np.eye(10)[data.target[order]]
    train, validation = slice(0, 1437), slice(1437, None)
    centre = CENTRES[optimizer] * (size / 32) ** EXPONENTS[optimizer]
    rates = centre * FINE ** np.arange(-SPAN, SPAN + 1)
    network = Networks(optimizer, rates, np.random.default_rng([seed, 1]))
    random, seen, every = np.random.default_rng([seed, 2]), 0, 1437 // CHECKS
    scores, places = [network.accuracy(x[validation], y[validation])], [1.0]
    for _ in range(EPOCHS):
        rows = random.permutation(1437)
        for start in range(0, 1437 - size + 1, size):
            batch = rows[start : start + size]
            network.update(x[train][batch], y[train][batch])
            if (seen + size) // every > seen // every:
                scores.append(network.accuracy(x[validation], y[validation]))
                places.append(seen + size)
            seen += size
        if all(max(column) >= TARGET for column in zip(*scores, strict=True)):
            break
    return np.array([_crossing(places, [row[i] for row in scores]) for i in range(len(rates))])


def _crossing(places: Sequence[float], scores: Sequence[float]) -> float:
    hit = next((i for i, score in enumerate(scores) if score >= TARGET), None)
    if hit is None:
        return math.log(2 * places[-1])
    share = (TARGET - scores[hit - 1]) / (scores[hit] - scores[hit - 1])
    return math.log(places[hit - 1] + share * (places[hit] - places[hit - 1]))


class Networks:
    """Perceptrons with the same initial weights and different learning rates, trained on the same batches.

    Args:
        optimizer: "adam", or "sgd" with a momentum of 0.9.
        rates: (r,) float64, their learning rates.
        random: Draws the weights.
        inputs: Of each example.
    """

    def __init__(self, optimizer: str, rates: Array, random: np.random.Generator, *, inputs: int = 64) -> None:
        shapes = ((inputs, 64), (1, 64), (64, 10), (1, 10))
        first = [
            random.normal(0, math.sqrt(2 / shape[0]), shape) if shape[0] > 1 else np.zeros(shape) for shape in shapes
        ]
        self._weights = [np.repeat(each[None], len(rates), axis=0) for each in first]
        self._means = [np.zeros_like(each) for each in self._weights]
        self._squares = [np.zeros_like(each) for each in self._weights]
        self._rates, self._adam, self._count = rates[:, None, None], optimizer == "adam", 0

    def accuracy(self, x: Array, y: Array) -> list[float]:
        """The share of examples that each network labels right."""
        _, logits = self._forward(x)
        return [float(share) for share in (logits.argmax(axis=2) == y.argmax(axis=1)).mean(axis=1)]

    def losses(self, x: Array, y: Array) -> Array:
        """The cross-entropy of each network."""
        _, logits = self._forward(x)
        shifted = logits - logits.max(axis=2, keepdims=True)
        logs = shifted - np.log(np.exp(shifted).sum(axis=2, keepdims=True))
        return np.asarray(-(logs * y).sum(axis=2).mean(axis=1))

    def set_rates(self, rates: Array) -> None:
        """Train on at other rates."""
        self._rates = rates[:, None, None]

    def update(self, x: Array, y: Array) -> None:
        """Take one step of every network on a batch; one that has diverged stays where it is."""
        hidden, logits = self._forward(x)
        shifted = np.exp(logits - logits.max(axis=2, keepdims=True))
        delta = (shifted / shifted.sum(axis=2, keepdims=True) - y) / len(x)
        back = (delta @ self._weights[2].swapaxes(1, 2)) * (hidden > 0)
        gradients = [x.T @ back, back.sum(axis=1, keepdims=True)]
        gradients += [hidden.swapaxes(1, 2) @ delta, delta.sum(axis=1, keepdims=True)]
        self._count += 1
        for i, gradient in enumerate(gradients):
            self._weights[i] -= self._rates * self._direction(i, np.nan_to_num(gradient))

    def _forward(self, x: Array) -> tuple[Array, Array]:
        hidden = np.maximum(0, x @ self._weights[0] + self._weights[1])
        return hidden, np.clip(np.nan_to_num(hidden @ self._weights[2] + self._weights[3]), -1e6, 1e6)

    def _direction(self, i: int, gradient: Array) -> Array:
        if not self._adam:
            self._means[i] = 0.9 * self._means[i] + gradient
            return self._means[i]
        self._means[i] = 0.9 * self._means[i] + 0.1 * gradient
        self._squares[i] = 0.999 * self._squares[i] + 0.001 * gradient**2
        mean, square = self._means[i] / (1 - 0.9**self._count), self._squares[i] / (1 - 0.999**self._count)
        return np.asarray(mean / (np.sqrt(square) + 1e-7))


if __name__ == "__main__":
    raise SystemExit(main())
