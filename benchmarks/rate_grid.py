"""How much of the time to a target is owed to learning rates that were not tried: digits, Adam and SGD, brute force.

    python benchmarks/rate_grid.py [--seeds 16]          # about three minutes

A perceptron 64-64-10 in NumPy is trained on scikit-learn's digits to a validation accuracy, at each batch size with
each rate of a fine grid, 1.32 (3 to the power 1/4) apart. A search sees one seed, each in turn; the truth is the
geometric mean of the examples over all others. From any phase of the grid it tries rates 3 times apart, outward as long
as the best is at an edge ("steps"); or it then tries the two rates half a step from the best, too ("half steps"). Of
these it takes the soonest, or the one that is expected to lose least, as `tune` does ("expected").

Printed is how much longer the rate taken needs than the best one, and how far the ratio of the times of two batch sizes
is off; below "told", less what the model says is owed to rates. "truth" is what so few seeds show even of a search that
knows all rates: what the rate that is best by one half of the seeds costs by the other.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_digits

from tuning.stats.rate_profile import Reach, rate_profiles
from tuning.stats.reaches import above_rule

Array = npt.NDArray[np.float64]
SIZES = (8, 16, 32, 64, 128)
FINE = 3 ** (1 / 4)
CENTRES = {"adam": 8e-3, "sgd": 0.05}  # at batch size 32
EXPONENTS = {"adam": 0.5, "sgd": 1.0}
SPAN = 9  # fine steps to each side of the centre
TARGET, EPOCHS, CHECKS = 0.95, 16, 4
MISSED = math.log(2)
"""What is added to ln of the examples of a training that missed the target."""
SIGMA = 0.15


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=16, help="trainings per rate (default 16)")
    parser.add_argument("--optimizers", default="adam,sgd")
    options = parser.parse_args(arguments)
    heads = (
        f"{'mean loss':>10s}{'worst':>8s}{'pairs off by > 5 %':>20s}{'> 15 %':>8s}{'told: > 5 %':>13s}{'> 15 %':>8s}"
    )
    print(f"{'optimizer':10s}{'search':22s}{heads}")
    for optimizer in options.optimizers.split(","):
        logs = np.array([[examples(optimizer, size, seed) for size in SIZES] for seed in range(options.seeds)])
        for halves, expected in itertools.product((False, True), repeat=2):
            name = f"{'half steps' if halves else 'steps'}, {'expected' if expected else 'soonest'}"
            made = [
                lost(optimizer, logs, seen, phase, (halves, expected))
                for seen in range(len(logs))
                for phase in range(4)
            ]
            losses, owed = np.array([each[0] for each in made]), np.array([each[1] for each in made])
            print(f"{optimizer:10s}{name:22s}{summary(losses)}{pairs(losses - owed)}", flush=True)
        print(f"{optimizer:10s}{'truth':22s}{summary(halves_of(logs))}")
    return 0


def summary(losses: Array) -> str:
    """The first columns of a line: losses are ln of times over the best ones, (searches, sizes)."""
    mean, worst = (100 * math.expm1(value) for value in (losses.mean(), losses.max()))
    return f"{mean:9.1f}%{worst:7.1f}%{pairs(losses)}"


def pairs(losses: Array) -> str:
    """How many of 100 pairs of batch sizes are off by more than 5 and 15 %."""
    off = np.array([row[a] - row[b] for row in losses for a, b in itertools.combinations(range(len(SIZES)), 2)])
    shares = [100 * float(np.mean(np.abs(off) > math.log(limit))) for limit in (1.05, 1.15)]
    return f"{shares[0]:19.0f}%{shares[1]:7.0f}%"


def lost(optimizer: str, logs: Array, seed: int, phase: int, how: tuple[bool, bool]) -> tuple[list[float], list[float]]:
    """What the rates taken cost in ln of the time, and what the model says of that, by batch size.

    Args:
        optimizer: "adam" or "sgd".
        logs: (seeds, sizes, rates).
        seed: The one that is seen.
        phase: Of the grid.
        how: Whether half steps are tried, and whether the rate expected to lose least is taken, not the soonest.
    """
    halves, expected = how
    truth, seen = np.delete(logs, seed, axis=0).mean(axis=0), logs[seed]
    tried = [search(each, SPAN - 2 + phase, halves) for each in seen]
    profiles = rate_profiles(
        {size: reaches(optimizer, size, i, each) for size, i, each in zip(SIZES, tried, seen, strict=True)}, SIGMA
    )
    losses, owed = [], []
    for size, indices, each, true in zip(SIZES, tried, seen, truth, strict=True):
        known = profiles[size]
        expects = {i: known.loss(log_rate(optimizer, size, i)).mean for i in indices if not is_miss(each[i])}
        taken = min(expects, key=lambda i: expects[i] if expected else each[i])
        losses.append(float(true[taken] - true.min()))
        owed.append(expects[taken])
    return losses, owed


def log_rate(optimizer: str, size: int, index: int) -> float:
    """A rate of the fine grid as the model sees it."""
    rate = CENTRES[optimizer] * (size / 32) ** EXPONENTS[optimizer] * FINE ** (index - SPAN)
    return above_rule(rate, size)


def reaches(optimizer: str, size: int, indices: Sequence[int], seen: Array) -> list[Reach]:
    """The trainings of a search at one batch size."""
    return [
        Reach(log_rate(optimizer, size, i), seen[i] - MISSED * is_miss(seen[i]), not is_miss(seen[i])) for i in indices
    ]


def is_miss(log_examples: float) -> bool:
    """Whether ln of examples is that of a training that missed the target."""
    return log_examples > math.log(1.5 * EPOCHS * 1437)


def halves_of(logs: Array) -> Array:
    """What the rate that is best by every other seed costs by the others, (1, sizes)."""
    first, second = logs[::2].mean(axis=0), logs[1::2].mean(axis=0)
    return np.array([[float(b[a.argmin()] - b.min()) for a, b in zip(first, second, strict=True)]])


def search(seen: Array, centre: int, halves: bool) -> list[int]:
    """The indices of the rates that a search tries: three rates 4 fine steps apart, outward, then half-way between."""
    tried = [centre - 4, centre, centre + 4]
    while True:
        best = min(tried, key=lambda i: seen[i])
        beyond = best - 4 if best == min(tried) else best + 4 if best == max(tried) else None
        if beyond is None or not 0 <= beyond < len(seen):
            break
        tried.append(beyond)
    if halves:
        tried += [i for i in (best - 2, best + 2) if 0 <= i < len(seen)]
    return tried


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
        return math.log(places[-1]) + MISSED
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
