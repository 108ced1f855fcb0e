"""Expected improvement under noise: how much a trial of a point may gain over the best known."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import erfcx, ndtr

from tuning.proposals.axes import Array

_FAR = -1e3


def log_expected_improvement(means: Array, variances: Array, incumbent: float, noise_variance: float) -> Array:
    """(n,) logarithms of the augmented expected improvement.

        EI = s * (phi(z) + z * Phi(z)),  z = (mean - incumbent) / s
        augmented: EI * (1 - sigma / (s**2 + sigma**2)**0.5)

    The second factor is what one noisy value is worth, so that a point may be tried again, but is not where nothing
    more can be learnt of it.

    Args:
        means: (n,) posterior means; larger is better.
        variances: (n,) their variances s**2, without noise.
        incumbent: The best posterior mean of the points tried.
        noise_variance: sigma**2, of a single value.

    Source: Huang, Allen, Notz and Zeng 2006, J. Global Optimization 34; Ament et al. 2023, arXiv 2310.20708, for the
    logarithm.
    """
    deviations = np.sqrt(variances)
    improvement = np.log(deviations) + log_improvement_of_standard((means - incumbent) / deviations)
    total = np.sqrt(variances + noise_variance)
    worth = variances / (total * (total + math.sqrt(noise_variance)))  # 1 - sigma / total, without cancellation
    return np.asarray(improvement + np.log(worth))


def log_improvement_of_standard(z: Array) -> Array:
    """(n,) `log(phi(z) + z * Phi(z))`, exact to about 1e-6 for any z, where the plain formula would give log 0."""
    near = np.maximum(z, -1.0)
    plain = np.log(np.exp(-0.5 * near**2) / math.sqrt(2 * math.pi) + near * ndtr(near))
    below = np.clip(z, _FAR, -1.0)
    ratio = 1.0 + below * math.sqrt(math.pi / 2) * erfcx(-below / math.sqrt(2))
    tail = np.where(z < _FAR, -2.0 * np.log(np.maximum(-z, 1.0)), np.log(ratio))
    return np.where(z > -1.0, plain, -0.5 * z**2 - 0.5 * math.log(2 * math.pi) + tail)
