"""The Matérn kernel: how alike the results of two points are, by their distance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tuning.proposals.axes import Array

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
