"""How the time to a target depends on the learning rate: which rate is best, and what those not tried would save."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import scipy

Array = npt.NDArray[np.float64]

CURVATURES = np.geomspace(0.5, 8.0, 9)
TYPICAL_CURVATURE, CURVATURE_SPREAD = 2.0, 0.6
"""ln E rises by about q/2 times the square of ln(rate/best rate). On a perceptron on digits rates three times apart
cost 9 % of the time on average and 25 % at worst with Adam, as with a q of 1.5, with SGD 14 and 51 %, as with 2.7."""
STEEPER_ABOVE = 2.0
"""Too high a rate costs more than too low a one. 1.5 to 3 choose equally well in `benchmarks/rate_grid.py`."""
MISFIT = 0.3
"""By how much of itself the rise is uncertain."""
DRIFT = 0.45
"""How far ln of the best rate wanders from the square root rule per doubling of the batch size; by SGD's rule 0.35.
There 0.3 to 0.9 choose equally well."""
SPACING, BEYOND = 0.1, 1.1
"""Of the grid of best rates, which reaches a step of 3 beyond the rates tried."""


@dataclass(frozen=True)
class Reach:
    """How far the trainings at one learning rate came.

    Args:
        log_rate: ln(rate / the rule's rate for the batch size), up to a constant.
        log_examples: ln(examples to the target), or of those after which it had not been reached; a mean over seeds.
        reached: Whether it was, by all seeds.
        seeds: How many.
    """

    log_rate: float
    log_examples: float
    reached: bool
    seeds: int = 1


@dataclass(frozen=True)
class RateLoss:
    """What a rate costs against the best one: ln(E at the rate / E at the best rate), not negative.

    Args:
        mean: The posterior mean.
        variance: The posterior variance.
    """

    mean: float
    variance: float


@dataclass(frozen=True)
class RateProfile:
    """What is known of one batch size's best learning rate.

    Args:
        optima: (m,) float64, where it may lie, on the scale of `Reach.log_rate`.
        weights: (curvatures, m) float64, the posterior.
    """

    optima: Array
    weights: Array = field(repr=False)

    def loss(self, log_rate: float) -> RateLoss:
        """Return what a rate costs, on the scale of `Reach.log_rate`."""
        losses = CURVATURES[:, None] * rise(log_rate - self.optima)
        mean = float(np.sum(self.weights * losses))
        return RateLoss(mean, float(np.sum(self.weights * (losses - mean) ** 2)))


def rise(distance: Array) -> Array:
    """Return by how much ln E rises at a distance ln(rate/best rate), for a curvature of 1.

        d^2/2 below the best rate, -d - 1/2 from d = -1 on;   2*d^2/2 above it

    Far below the best rate the time to a target falls as a power of the rate, above it training soon becomes unstable.
    """
    below = np.where(distance > -1, distance**2 / 2, -distance - 0.5)
    return np.asarray(np.where(distance > 0, STEEPER_ABOVE * distance**2 / 2, below))


def rate_profiles(reaches: Mapping[int, Sequence[Reach]], sigma: float) -> dict[int, RateProfile]:
    """Return what is known of each batch size's best rate, of those that tried several and reached the target with any.

        ln E(r) = level + q*rise(v - v*) + e,   Var e = sigma^2/seeds + (0.3*q*rise(v - v*))^2
        v* of neighbouring batch sizes differ by N(0, 0.45^2 per doubling)

    with v the `log_rate`. A training that missed the target says that its E exceeds what it saw (Tobin's censored
    normal). The level has a flat prior at each batch size; the curvature q is one for all, log-normal around 2 with sd
    0.6; v* is uniform up to a step of 3 beyond the rates tried. All on a grid, along which the batch sizes are a Markov
    chain, so that each learns of its best rate from all others, exactly.

    Args:
        reaches: By batch size, its trainings at different rates.
        sigma: The standard deviation of ln E between seeds; positive.

    Source: Tobin, Estimation of relationships for limited dependent variables (1958), for the censored runs; Rabiner, A
        Tutorial on Hidden Markov Models (1989), section III.B, for the chain.
    """
    told = {
        size: runs
        for size, runs in sorted(reaches.items())
        if len({run.log_rate for run in runs}) > 1 and any(run.reached for run in runs)
    }
    if not told:
        return {}
    rates = [run.log_rate for runs in told.values() for run in runs]
    low, high = min(rates) - BEYOND, max(rates) + BEYOND
    optima = np.linspace(low, high, math.ceil((high - low) / SPACING) + 1)
    prior = -0.5 * (np.log(CURVATURES / TYPICAL_CURVATURE) / CURVATURE_SPREAD) ** 2
    grids = [_log_likelihood(runs, sigma, optima) for runs in told.values()]
    joint = [logs + prior[:, None] for logs in _along(list(told), grids, optima)]
    weights = [np.exp(logs - logs.max()) for logs in joint]
    return {size: RateProfile(optima, each / each.sum()) for size, each in zip(told, weights, strict=True)}


def _along(sizes: Sequence[int], grids: Sequence[Array], optima: Array) -> list[Array]:
    """Return ln p(all runs | q, v* of one batch size) for each batch size, (curvatures, optima) float64."""
    doublings = np.diff(np.log2(np.array(sizes, dtype=float)))
    distance = (optima[:, None] - optima) ** 2
    steps = [np.exp(-0.5 * distance / (DRIFT**2 * count)) for count in doublings]
    before, after = [np.zeros_like(grids[0])], [np.zeros_like(grids[0])]
    for grid, step in zip(grids, steps, strict=False):
        before.append(_moved(before[-1] + grid, step))
    for grid, step in zip(grids[:0:-1], steps[::-1], strict=True):
        after.append(_moved(after[-1] + grid, step))
    return [grid + left + right for grid, left, right in zip(grids, before, reversed(after), strict=True)]


def _moved(logs: Array, step: Array) -> Array:
    """Return ln(exp(logs) step), rows apart."""
    top = logs.max(axis=1, keepdims=True)
    return np.asarray(top + np.log(np.exp(logs - top) @ step + 1e-300))


def _log_likelihood(runs: Sequence[Reach], sigma: float, optima: Array) -> Array:
    """Return ln p(runs | q, v*), (curvatures, optima) float64, the level integrated out.

    The level is normal given the runs that reached the target; each that missed it multiplies by the chance of that.
    """
    rates, values, seeds = (np.array([getattr(r, n) for r in runs]) for n in ("log_rate", "log_examples", "seeds"))
    reached = np.array([run.reached for run in runs])
    rises = CURVATURES[:, None, None] * rise(rates - optima[:, None])
    variances = sigma**2 / seeds + (MISFIT * rises) ** 2
    weights = 1 / variances[..., reached]
    levels = values[reached] - rises[..., reached]
    total = weights.sum(axis=-1)
    level = (weights * levels).sum(axis=-1) / total
    squares = (weights * (levels - level[..., None]) ** 2).sum(axis=-1)
    likelihood = 0.5 * np.log(weights).sum(axis=-1) - 0.5 * np.log(total) - 0.5 * squares
    distance = level[..., None] + rises[..., ~reached] - values[~reached]
    spread = np.sqrt(variances[..., ~reached] + 1 / total[..., None])
    return np.asarray(likelihood + scipy.special.log_ndtr(distance / spread).sum(axis=-1))
