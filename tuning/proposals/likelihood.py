"""The likelihood of a Gaussian process's hyperparameters, with its gradient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky

from tuning.proposals.axes import Array
from tuning.proposals.kernel import matern, matern_slope

_JITTER = 1e-8


@dataclass(frozen=True)
class Pooled:
    """What repeats of each point come to.

    Args:
        means: (n,) mean value of each point.
        repeats: (n,) how many values it has.
        within: (n,) sum over the values of each point of the squared distance from its mean.
    """

    means: Array
    repeats: Array
    within: Array

    def chosen(self, points: NDArray[np.intp]) -> Pooled:
        """The same of some of the points."""
        return Pooled(self.means[points], self.repeats[points], self.within[points])


def log_likelihood(logs: Array, distances: Array, pooled: Pooled) -> tuple[float, Array]:
    """The log marginal likelihood and its gradient.

    With `K = s * matern(r) + diag(v / repeats)` and `y` the means, up to a constant

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
    lower = cholesky(kernel + np.diag(share + _JITTER), lower=True, check_finite=False)
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
