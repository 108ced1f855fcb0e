"""Exact paired tests that assume no distribution, for six seeds or more."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import stats

Array = npt.NDArray[np.float64]


def smallest_p_value(seeds: int) -> float:
    """Least two-sided p that a paired permutation or Wilcoxon test of n differences can reach: 2/2^n."""
    return min(1.0, 2.0 ** (1 - seeds))


def rank_test(differences: Sequence[float]) -> float:
    """Two-sided p of the exact Wilcoxon signed-rank test on paired differences; below 6 seeds it cannot reach .05.

    Raises:
        ValueError: If there are no differences.

    Source: Wilcoxon, Individual comparisons by ranking methods (1945).
    """
    if not differences:
        raise ValueError("rank_test needs at least one paired difference; got none.")
    return permutation_p_value(stats.rankdata(np.abs(differences)) * np.sign(differences))


def permutation_p_value(differences: Sequence[float] | Array) -> float:
    """Two-sided p of the exact paired permutation test: the share of sign flips with a sum at least as far from 0.

    All 2^n flips up to n = 16, beyond that 65 536 random ones (fixed generator).

    Raises:
        ValueError: If there are no differences.

    Source: Fisher, The Design of Experiments (1935), section 21.
    """
    values = np.asarray(differences, dtype=float)
    if values.size == 0:
        raise ValueError("permutation_p_value needs at least one paired difference; got none.")
    if values.size <= 16:
        bits = np.arange(2**values.size)[:, None] >> np.arange(values.size) & 1
    else:
        bits = np.random.default_rng(0).integers(0, 2, (2**16, values.size))
    sums = np.abs((2 * bits - 1) @ values)
    return float(np.mean(sums >= abs(values.sum()) - 1e-12 * np.abs(values).sum()))
