"""Warping: values on a scale on which a Gaussian process fits them."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri
from scipy.stats import rankdata

from tuning.proposals.axes import Array


def warp(values: Array) -> Array:
    """(n,) values of mean 0 and deviation 1, in the same order, in which the worse half is known by its rank alone.

    Values above the median m keep their distances. With s their root mean square distance from m, a value below it
    that is the r-th smallest of n becomes `m + s * Phi^-1((r - 1/2) / n)`, where a normal sample would have it:
    learning rates at which nothing is learnt are bad, and how bad does not matter.

    Args:
        values: (n,) larger is better, finite.

    Source: the half-rank warping of Song et al. 2024 (Vizier), arXiv 2408.11527.
    """
    middle = float(np.median(values))
    upper = values[values >= middle]
    spread = float(np.sqrt(np.mean((upper - middle) ** 2)))
    if spread > 0.0:
        normal = ndtri((rankdata(values) - 0.5) / len(values))
        values = np.where(values < middle, middle + spread * np.minimum(normal, 0.0), values)
    deviation = float(values.std())
    warped: Array = (values - values.mean()) / (deviation if deviation > 0.0 else 1.0)
    return warped
