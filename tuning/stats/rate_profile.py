"""What the spacing of learning rates costs: how much sooner a batch size might reach the target with one in between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy

Array = npt.NDArray[np.float64]

CURVATURES = np.geomspace(0.5, 8.0, 9)
TYPICAL_CURVATURE, CURVATURE_SPREAD = 2.0, 0.6
"""ln E rises by q/2 times the square of ln(rate/best rate). On a perceptron on digits rates three times apart cost 9 %
of the time on average and 25 % at worst with Adam, which a q of 1.5 does, 14 and 51 % with SGD, which 2.7 does."""
OPTIMA = np.linspace(-1.1, 1.1, 45)
"""Where the best rate may lie, as ln of its ratio to the one taken: up to its neighbours, a step of 3 away."""
MISFIT = 0.3
"""By how much of itself the parabola's rise is uncertain: too high a rate costs more than too low a one."""


@dataclass(frozen=True)
class Reach:
    """How far one training at one learning rate came.

    Args:
        log_rate: ln(rate / the rate taken for the batch size).
        log_examples: ln(examples to the target), or of those after which it had not been reached.
        reached: Whether it was.
    """

    log_rate: float
    log_examples: float
    reached: bool


@dataclass(frozen=True)
class RateLoss:
    """What the rate taken costs against the best one: ln(E at the rate taken / E at the best rate), not negative.

    Args:
        mean: The posterior mean.
        variance: The posterior variance.
    """

    mean: float
    variance: float


def rate_losses(reaches: Mapping[int, Sequence[Reach]], sigma: float) -> dict[int, RateLoss]:
    """Return what the rate taken costs each batch size that tried more than one and reached the target with any.

        ln E(r) = level + q*(v - v*)^2/2 + e,   v = ln(rate / the rate taken),   Var e = sigma^2 + (0.3*q*(v -
        v*)^2/2)^2 loss    = q*v*^2/2

    A training that missed the target says that its E exceeds what it saw (Tobin's censored normal). The level has a
    flat prior at each batch size; the curvature q is one for all, log-normal around 2 with sd 0.6; v* is uniform within
    a step of 3 to both sides of the rate taken. All on a grid.

    Args:
        reaches: By batch size, its trainings with one seed at different rates.
        sigma: The standard deviation of ln E between seeds; positive.

    Source: Tobin, Estimation of relationships for limited dependent variables (1958), for the censored runs.
    """
    grids = {
        size: _log_likelihood(runs, sigma)
        for size, runs in reaches.items()
        if len({run.log_rate for run in runs}) > 1 and any(run.reached for run in runs)
    }
    if not grids:
        return {}
    prior = -0.5 * (np.log(CURVATURES / TYPICAL_CURVATURE) / CURVATURE_SPREAD) ** 2
    by_curvature = {size: scipy.special.logsumexp(grid, axis=1) for size, grid in grids.items()}
    curvature = prior + sum(by_curvature.values())
    losses = CURVATURES[:, None] * OPTIMA**2 / 2
    found = {}
    for size, grid in grids.items():
        joint = grid - by_curvature[size][:, None] + curvature[:, None]
        weights = np.exp(joint - joint.max())
        weights /= weights.sum()
        mean = float(np.sum(weights * losses))
        found[size] = RateLoss(mean, float(np.sum(weights * (losses - mean) ** 2)))
    return found


def _log_likelihood(runs: Sequence[Reach], sigma: float) -> Array:
    """Return ln p(runs | q, v*), (curvatures, optima) float64, the level integrated out.

    The level is normal given the runs that reached the target; each that missed it multiplies by the chance of that.
    """
    rates, values = (np.array([getattr(run, name) for run in runs]) for name in ("log_rate", "log_examples"))
    reached = np.array([run.reached for run in runs])
    rises = CURVATURES[:, None, None] * (rates - OPTIMA[None, :, None]) ** 2 / 2
    variances = sigma**2 + (MISFIT * rises) ** 2
    weights = 1 / variances[..., reached]
    levels = values[reached] - rises[..., reached]
    total = weights.sum(axis=-1)
    level = (weights * levels).sum(axis=-1) / total
    squares = (weights * (levels - level[..., None]) ** 2).sum(axis=-1)
    likelihood = 0.5 * np.log(weights).sum(axis=-1) - 0.5 * np.log(total) - 0.5 * squares
    distance = level[..., None] + rises[..., ~reached] - values[~reached]
    spread = np.sqrt(variances[..., ~reached] + 1 / total[..., None])
    return np.asarray(likelihood + scipy.special.log_ndtr(distance / spread).sum(axis=-1))
