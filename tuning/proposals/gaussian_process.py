"""GaussianProcess: what is expected of points that have not been tried, and how surely."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky
from scipy.optimize import minimize

from tuning.proposals.axes import Array

_JITTER = 1e-8


class GaussianProcess:
    """A process of mean 0, conditioned on noisy values.

    Args:
        features: (n, columns) of the points.
        pooled: Their values.
        logs: (axes + 2,) logarithms of lengthscales, signal variance and noise variance, as `fit` finds them.
        groups: (columns,) the axis of each feature.

    Source: Rasmussen and Williams 2006, equations 2.25 and 2.26.
    """

    def __init__(self, features: Array, pooled: Pooled, *, logs: Array, groups: NDArray[np.intp]) -> None:
        self._features, self._pooled = features, pooled
        self._logs, self._groups = logs, groups
        self._lengthscales = np.exp(logs[:-2])[groups]
        self._signal = float(np.exp(logs[-2]))
        self.noise_variance = float(np.exp(logs[-1]))
        kernel = self._covariance(features, features)
        kernel[np.diag_indices_from(kernel)] += pooled.variances(self.noise_variance) + _JITTER
        lower = cholesky(kernel, lower=True, check_finite=False)
        self._inverse = cho_solve((lower, True), np.eye(len(features)), check_finite=False)
        self._solved = self._inverse @ pooled.means

    def posterior(self, features: Array) -> tuple[Array, Array]:
        """(m,) means and (m,) variances, without noise, at (m, columns) features."""
        across = self._covariance(features, self._features)
        variance = self._signal - ((across @ self._inverse) * across).sum(axis=1)
        return across @ self._solved, np.maximum(variance, 1e-12)

    def believing(self, features: Array) -> GaussianProcess:
        """This process, believing that (m, columns) features will turn out as it expects.

        Points that are being tried are filled in so, without noise: to try them once more promises nothing until they
        have ended, and their neighbourhood promises less.

        Source: Ginsbourger, Le Riche and Carraro 2010, the kriging believer.
        """
        if not len(features):
            return self
        means, _ = self.posterior(features)
        together = self._pooled.with_certain(means)
        return GaussianProcess(np.vstack([self._features, features]), together, logs=self._logs, groups=self._groups)

    def _covariance(self, left: Array, right: Array) -> Array:
        return self._signal * matern(squared_distances(left, right, self._lengthscales))


_ROOT = 5.0**0.5


def squared_distances(left: Array, right: Array, lengthscales: Array) -> Array:
    """(n, m) squared distances of (n, d) and (m, d) features, each column measured in its lengthscale."""
    a, b = left / lengthscales, right / lengthscales
    squared: Array = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1) - 2.0 * (a @ b.T)
    return np.maximum(squared, 0.0)


def matern(squared: Array) -> Array:
    """The kernel of smoothness 5/2 at squared distances `r**2`: `(1 + 5**.5*r + 5/3*r**2) * exp(-5**.5*r)`.

    Source: Rasmussen and Williams 2006, Gaussian Processes for Machine Learning, equation 4.17.
    """
    scaled = _ROOT * np.sqrt(squared)
    return (1.0 + scaled + scaled * scaled / 3.0) * np.exp(-scaled)


def matern_slope(squared: Array) -> Array:
    """Minus the derivative of `matern` by half the squared distance: `5/3 * (1 + 5**.5*r) * exp(-5**.5*r)`."""
    scaled = _ROOT * np.sqrt(squared)
    return (5.0 / 3.0) * (1.0 + scaled) * np.exp(-scaled)


def group_distances(features: Array, groups: NDArray[np.intp]) -> Array:
    """(groups, n, n) squared distances along each axis alone, where an axis may have several columns."""
    found = np.zeros((int(groups.max()) + 1, len(features), len(features)))
    for column, group in zip(features.T, groups, strict=True):
        found[group] += (column[:, None] - column) ** 2
    return found


_LIKELIHOOD_JITTER = 1e-8


@dataclass(frozen=True)
class Pooled:
    """What repeats of each point come to.

    Args:
        means: (n,) mean value of each point.
        repeats: (n,) how many values it has.
        within: (n,) sum over the values of each point of the squared distance from its mean.
        doubts: (n,) variance of each mean beyond the noise of its values, where it is in part a forecast.
    """

    means: Array
    repeats: Array
    within: Array
    doubts: Array

    def chosen(self, points: NDArray[np.intp]) -> Pooled:
        """The same of some of the points."""
        return Pooled(self.means[points], self.repeats[points], self.within[points], self.doubts[points])

    def with_certain(self, means: Array) -> Pooled:
        """The same with (m,) further points whose means are known without noise."""
        none = np.zeros(len(means))
        return Pooled(
            np.concatenate([self.means, means]),
            np.concatenate([self.repeats, np.full(len(means), np.inf)]),
            np.concatenate([self.within, none]),
            np.concatenate([self.doubts, none]),
        )

    def variances(self, noise_variance: float) -> Array:
        """(n,) of the means about the process, from the variance of a single value."""
        return np.asarray(noise_variance / self.repeats + self.doubts)


def log_likelihood(logs: Array, distances: Array, pooled: Pooled) -> tuple[float, Array]:
    """The log marginal likelihood and its gradient.

    With `K = s * matern(r) + diag(v / repeats + doubts)` and `y` the means, up to a constant

        -1/2 * (y' K^-1 y + log det K) - 1/2 * ((N - n) * log v + within / v)

    where the second part is what the N - n further values of repeated points say about the noise, `within` summed.

    Args:
        logs: (axes + 2,) logarithms of the lengthscales, the signal variance `s` and the noise variance `v`.
        distances: (axes, n, n) from `group_distances`.
        pooled: The values.

    Source: Rasmussen and Williams 2006, equations 2.30 and 5.9.
    """
    axes = len(distances)
    weights, signal, noise = np.exp(-2.0 * logs[:axes]), np.exp(logs[axes]), np.exp(logs[axes + 1])
    squared = np.tensordot(weights, distances, axes=1)
    kernel = signal * matern(squared)
    share = noise / pooled.repeats
    lower = cholesky(kernel + np.diag(pooled.variances(noise) + _LIKELIHOOD_JITTER), lower=True, check_finite=False)
    inverse = cho_solve((lower, True), np.eye(len(lower)), check_finite=False)
    solved = inverse @ pooled.means
    further, within = float(pooled.repeats.sum()) - len(lower), float(pooled.within.sum())
    value = (
        -0.5 * float(pooled.means @ solved)
        - float(np.log(np.diag(lower)).sum())
        - 0.5 * (further * logs[axes + 1] + within / noise)
    )
    pull = np.outer(solved, solved) - inverse
    slope = 0.5 * signal * (pull * matern_slope(squared))
    gradient = np.empty(axes + 2)
    gradient[:axes] = weights * np.tensordot(distances, slope, axes=2)
    gradient[axes] = 0.5 * (pull * kernel).sum()
    gradient[axes + 1] = 0.5 * (np.diag(pull) @ share) - 0.5 * (further - within / noise)
    return float(value), gradient


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
