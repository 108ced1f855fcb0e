"""Shapes: what true means look like over the batch size before anything is measured, each with its prior chance."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

LENGTHS = (1.0, 2.0)  # in ln B: about one and a half and three doublings
SMOOTH = (0.3, 0.6, 1.2, 2.5, 5.0, 10.0)  # amplitudes, in units of the noise of one run
OWN = (0.3, 0.6, 1.0, 2.0, 10.0, 100.0)  # the largest are for differences beyond all doubt
HEIGHTS = (0.7, 1.5, 3.0, 6.0, 12.0)
SLOPE_PER_HEIGHT = 1 / 1.5  # of a plateau's edge or a peak, per doubling
SPREAD = 0.5  # a height is uncertain by half of itself
SMALL = 0.15  # what a batch size may deviate from a plateau, a peak or an isolated best

FAMILIES = {"equal": 0.25, "smooth": 0.15, "rough": 0.15, "plateau": 0.15, "peak": 0.15, "isolated": 0.15}
"""The prior chance of each family. Equal chances for all, or any of these doubled, change no chance that is stated in
`benchmarks/calibration.py` by more than 2 points on average."""


@dataclass(frozen=True)
class Shapes:
    """Normal priors of the true means, up to a common level, all in units of the noise of one run.

    Args:
        curves: (c, k) float64, the expected means.
        covariances: (c, k, k) float64.
        chances: (c,) float64, the prior chance of each; they add up to 1.
        isolated: How many of them, the last ones, say that one batch size alone is better than all others.
    """

    curves: Array
    covariances: Array
    chances: Array
    isolated: int = 0


def shapes_of(logs: Array, *, repeated: bool) -> Shapes:
    """Return the shapes over the logarithms of batch sizes, ascending.

        equal     nothing distinguishes the batch sizes
        smooth    a Gaussian process in ln B with a Matern 3/2 kernel
        rough     the same, and each batch size has a deviation of its own
        plateau   equal up to some batch size, or from there on, and falling on the other side
        peak      falling on both sides of some point
        isolated  one batch size is better, all others are equal

    Without repeats a deviation of one batch size cannot be told from noise; only equal, smooth, plateau and peak
    remain.

    Source: Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), section 4.2, for the kernel; Shallue
        et al., Measuring the Effects of Data Parallelism (2019), for plateaus with a falling end.
    """
    members = {
        "equal": [(np.zeros_like(logs), np.zeros((len(logs), len(logs))))],
        "smooth": list(_smooth(logs)),
        "rough": list(_rough(logs)),
        "plateau": list(_heights(-SLOPE_PER_HEIGHT * edge for edge in _edges(logs))),
        "peak": list(_heights(-SLOPE_PER_HEIGHT * slope for slope in _slopes(logs))),
        "isolated": list(_heights(iter(np.eye(len(logs))))),
    }
    kept = {name: each for name, each in members.items() if repeated or name not in ("rough", "isolated")}
    total = sum(FAMILIES[name] for name in kept)
    chances = [FAMILIES[name] / total / len(each) for name, each in kept.items() for _ in each]
    curves, covariances = zip(*itertools.chain.from_iterable(kept.values()), strict=True)
    return Shapes(np.array(curves), np.array(covariances), np.array(chances), len(kept.get("isolated", ())))


def matern(logs: Array, length: float) -> Array:
    """Return the Matern 3/2 kernel `(1 + r)*exp(-r)`, `r = sqrt(3)*abs(x - x')/length`, (k, k)."""
    distance = math.sqrt(3) * np.abs(logs[:, None] - logs) / length
    return np.asarray((1 + distance) * np.exp(-distance))


def _smooth(logs: Array) -> Iterator[tuple[Array, Array]]:
    for length, amplitude in itertools.product(LENGTHS, SMOOTH):
        yield np.zeros_like(logs), amplitude**2 * matern(logs, length)


def _rough(logs: Array) -> Iterator[tuple[Array, Array]]:
    for amplitude, own in itertools.product((0.0, *SMOOTH[1::2]), OWN):
        yield np.zeros_like(logs), amplitude**2 * matern(logs, LENGTHS[-1]) + own**2 * np.eye(len(logs))


def _heights(forms: Iterator[Array]) -> Iterator[tuple[Array, Array]]:
    for form, height in itertools.product(forms, HEIGHTS):
        curve = height * form
        yield curve, SPREAD**2 * np.outer(curve, curve) + SMALL**2 * np.eye(len(form))


def _edges(logs: Array) -> Iterator[Array]:
    """How many doublings each batch size lies beyond an edge, for edges at each of them to both sides."""
    doublings = logs / math.log(2)
    for edge in doublings[:-1]:
        yield np.maximum(0, doublings - edge)
    for edge in doublings[1:]:
        yield np.maximum(0, edge - doublings)


def _slopes(logs: Array) -> Iterator[Array]:
    """How many doublings each batch size lies from a peak, for peaks at each of them and half-way between."""
    doublings = logs / math.log(2)
    for peak in (*doublings, *(doublings[1:] + doublings[:-1]) / 2):
        yield np.abs(doublings - peak)
