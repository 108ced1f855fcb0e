"""Fitting a Gaussian process: its most probable hyperparameters under priors that suit a few dozen trials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from tuning.proposals.axes import Array
from tuning.proposals.likelihood import Pooled, log_likelihood

_LENGTHSCALE, _SIGNAL, _NOISE = (-1.0, 0.7), (0.0, 1.0), (-3.0, 1.5)
_REACH = 4.0  # standard deviations of a prior within which the fit looks
_MAXIMUM_ITERATIONS = 30


@dataclass(frozen=True)
class Prior:
    """Normal priors on the logarithms of the hyperparameters, for values of standard deviation 1.

    Lengthscales are in units of the whole axis. Dimensions add distance, so that the median grows with the root of
    their number. The noise is that between seeds.

    Args:
        axes: How many there are.

    Source: Hvarfner, Hellsten and Nardi 2024, arXiv 2402.02229, for the lengthscales.
    """

    axes: int

    @property
    def centre(self) -> Array:
        """(axes + 2,) most probable logarithms: lengthscales, signal variance, noise variance."""
        lengthscale = _LENGTHSCALE[0] + 0.5 * np.log(self.axes)
        return np.array([lengthscale] * self.axes + [_SIGNAL[0], _NOISE[0]])

    @property
    def scale(self) -> Array:
        """(axes + 2,) their standard deviations."""
        return np.array([_LENGTHSCALE[1]] * self.axes + [_SIGNAL[1], _NOISE[1]])


def fit(distances: Array, pooled: Pooled, starts: Sequence[Array] = ()) -> Array:
    """(axes + 2,) the logarithms that maximise likelihood times prior.

    Args:
        distances: (axes, n, n) from `kernel.group_distances`.
        pooled: The values, of mean about 0 and standard deviation about 1.
        starts: Further logarithms to start from than the prior's centre, such as those of the last fit.
    """
    prior = Prior(len(distances))
    centre, scale = prior.centre, prior.scale

    def loss(logs: Array) -> tuple[float, Array]:
        value, gradient = log_likelihood(logs, distances, pooled)
        away = (logs - centre) / scale
        return -value + 0.5 * float(away @ away), -gradient + away / scale

    bounds = list(zip(centre - _REACH * scale, centre + _REACH * scale, strict=True))
    found = [
        minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": _MAXIMUM_ITERATIONS})
        for start in (centre, *starts)
    ]
    best = min(found, key=lambda result: float(result.fun))
    return np.asarray(best.x, dtype=float)
