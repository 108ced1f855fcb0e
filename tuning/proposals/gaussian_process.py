"""GaussianProcess: what is expected of points that have not been tried, and how surely."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky

from tuning.proposals.axes import Array
from tuning.proposals.kernel import matern, squared_distances

_JITTER = 1e-8


class GaussianProcess:
    """A process of mean 0, conditioned on noisy values.

    Args:
        features: (n, columns) of the points.
        values: (n,) their mean values.
        repeats: (n,) how many values each mean is of; the noise variance of a mean is the noise over this.
        logs: (axes + 2,) logarithms of lengthscales, signal variance and noise variance, as `fit` finds them.
        groups: (columns,) the axis of each feature.

    Source: Rasmussen and Williams 2006, equations 2.25 and 2.26.
    """

    def __init__(
        self, features: Array, values: Array, repeats: Array, *, logs: Array, groups: NDArray[np.intp]
    ) -> None:
        self._features, self._values, self._repeats = features, values, repeats
        self._logs, self._groups = logs, groups
        self._lengthscales = np.exp(logs[:-2])[groups]
        self._signal = float(np.exp(logs[-2]))
        self.noise_variance = float(np.exp(logs[-1]))
        kernel = self._covariance(features, features)
        kernel[np.diag_indices_from(kernel)] += self.noise_variance / repeats + _JITTER
        lower = cholesky(kernel, lower=True, check_finite=False)
        self._inverse = cho_solve((lower, True), np.eye(len(values)), check_finite=False)
        self._solved = self._inverse @ values

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
        return GaussianProcess(
            np.vstack([self._features, features]),
            np.concatenate([self._values, means]),
            np.concatenate([self._repeats, np.full(len(features), np.inf)]),
            logs=self._logs,
            groups=self._groups,
        )

    def _covariance(self, left: Array, right: Array) -> Array:
        return self._signal * matern(squared_distances(left, right, self._lengthscales))
