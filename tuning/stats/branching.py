"""The critical batch size where a training has come to, from branches of it that went on at several batch sizes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy

Array = npt.NDArray[np.float64]

LEAST_SIZES = 3
"""Batch sizes without which no law is told from noise."""
LEAST_REPEATS = 2
_BEYOND = 64.0  # B_crit is sought up to so many times outside the batch sizes
_LEVEL = 0.90

Curve = tuple[Sequence[int], Sequence[float]]
"""Examples since the branching, ascending, and the loss after so many."""


@dataclass(frozen=True)
class BranchedSize:
    """The critical batch size at one moment of a training.

    Args:
        value: B_crit in examples; None where the branches do not tell it.
        low: The lower end of its 90 % interval; None where there is none.
        high: The upper end.
        reason: Why it is not told; empty if it is.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    reason: str = ""


def branched_size(start: float, curves: Mapping[int, Sequence[Curve]]) -> BranchedSize:
    """Return B_crit from the losses of branches.

        E(B)/E(B_0) = (1 + B/B_crit)/(1 + B_0/B_crit)

    E is how many examples come to a loss. A branch at B that has the loss after D examples which branches at the
    smallest size B_0 had after e of them says E(B)/E(B_0) = D/e; e is read off the mean of their curves, made
    monotone. B_crit is fitted to ln(D/e) of all sizes by least squares, the mean losses of the repeats taken first. The
    interval is a jackknife over the repeats.

    Args:
        start: The loss where the branches begin.
        curves: Of each batch size, every repeat; those of the smallest have the most evaluations.

    Source: Merrill et al., Critical Batch Size Revisited (2025), for branching, who name the largest batch size whose
        loss does not suffer; McCandlish et al., An Empirical Model of Large-Batch Training (2018), for the law.
    """
    repeats = min(map(len, curves.values()), default=0)
    if len(curves) < LEAST_SIZES or repeats < LEAST_REPEATS:
        told = f"{len(curves)} batch sizes and {repeats} repeats"
        return BranchedSize(reason=f"branches need {LEAST_SIZES} batch sizes and {LEAST_REPEATS} repeats; got {told}")
    everything = _fitted(start, curves, range(repeats))
    if isinstance(everything, str):
        return BranchedSize(reason=everything)
    without = [_fitted(start, curves, [j for j in range(repeats) if j != i]) for i in range(repeats)]
    logs = [each for each in without if not isinstance(each, str)]
    if len(logs) < repeats:
        return BranchedSize(math.exp(everything), reason="")
    spread = math.sqrt((repeats - 1) / repeats * sum((each - np.mean(logs)) ** 2 for each in logs))
    half = float(scipy.stats.t.ppf((1 + _LEVEL) / 2, repeats - 1)) * spread
    return BranchedSize(math.exp(everything), math.exp(everything - half), math.exp(everything + half))


def _fitted(start: float, curves: Mapping[int, Sequence[Curve]], repeats: Sequence[int]) -> float | str:
    """Return ln B_crit from some of the repeats, or why there is none."""
    base, *others = sorted(curves)
    examples = np.array(curves[base][0][0], dtype=float)
    course = _monotone(np.mean([curves[base][i][1] for i in repeats], axis=0), start)
    if course[-1] >= start:
        return f"the loss did not fall at batch size {base} after the branching"
    sizes, logs = [], []
    for size in others:
        loss = float(np.mean([curves[size][i][1][-1] for i in repeats]))
        if not loss < start:
            continue  # its rate is too high, or its updates are too few: it tells of something else
        needed = _examples_to(loss, start, examples, course)
        sizes.append(size)
        logs.append(math.log(curves[size][0][0][-1] / needed))
    if len(sizes) + 1 < LEAST_SIZES:
        return f"the loss fell at {len(sizes) + 1} batch sizes alone"
    return _least_squares(base, np.array(sizes, dtype=float), np.array(logs))


def _monotone(losses: Array, start: float) -> Array:
    """Return the losses made non-increasing, none above the start (isotonic regression)."""
    return np.minimum(np.asarray(scipy.optimize.isotonic_regression(losses, increasing=False).x), start)


def _examples_to(loss: float, start: float, examples: Array, course: Array) -> float:
    """Return after how many examples a course comes to a loss; beyond its end it goes on as between its ends.

    Between evaluations the examples follow a monotone cubic in the loss. A course bends: straight lines would put a
    B_crit of 200 at 207, beyond an interval of little noise.

    Source: Fritsch and Butland, A method for constructing local monotone piecewise cubic interpolants (1984).
    """
    places, fallen = np.concatenate([[0.0], examples]), start - np.concatenate([[start], course])
    if start - loss > fallen[-1]:
        return float(places[-1] * (start - loss) / fallen[-1])
    distinct, first = np.unique(fallen, return_index=True)
    found = scipy.interpolate.PchipInterpolator(distinct, places[first])(start - loss)
    return max(1.0, float(found))


def _least_squares(base: int, sizes: Array, logs: Array) -> float:
    def misfit(log_critical: float) -> float:
        critical = math.exp(log_critical)
        return float(np.sum((np.log1p(sizes / critical) - math.log1p(base / critical) - logs) ** 2))

    low, high = math.log(base / _BEYOND), math.log(sizes.max() * _BEYOND)
    grid = np.linspace(low, high, 200)
    best = int(np.argmin([misfit(each) for each in grid]))
    bounds = (grid[max(0, best - 1)], grid[min(len(grid) - 1, best + 1)])
    return float(scipy.optimize.minimize_scalar(misfit, bounds=bounds, method="bounded").x)
