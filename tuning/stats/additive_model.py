"""The two-way model of scores, batch size plus seed, and how far the means of equal ones may lie apart."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import scipy

Array = npt.NDArray[np.float64]

LEVEL = 0.001
LEAST_RATIO = 4.0
ROUNDING = 1e-12


@dataclass(frozen=True)
class AdditiveFit:
    """The least-squares fit of `y[b,s] = mu[b] + u[s] + e[b,s]`, or without `u` where seeds do not pair sizes.

    Args:
        means: (k,) float64, mu + the mean of u over all the seeds.
        covariance: (k, k) float64, the covariance of the means in units of the variance of e.
        seed_effects: (n,) float64, u less its mean; zeros if not blocked.
        degrees_of_freedom: The degrees of freedom of the residuals.
        squares: The sum of the squared residuals.
        blocked: Whether u is in the model.
    """

    means: Array
    covariance: Array
    seed_effects: Array
    degrees_of_freedom: int
    squares: float
    blocked: bool

    @property
    def variance(self) -> float | None:
        """The variance of e; None without a degree of freedom."""
        return self.squares / self.degrees_of_freedom if self.degrees_of_freedom else None


def fit_additive_model(table: Array) -> AdditiveFit:
    """Return the fit to a (k, n) table of scores, NaN where a run is missing; every row has at least one score.

    Source: Searle, Linear Models for Unbalanced Data (1987), the two-way classification without interaction.
    """
    if min(table.shape) > 1 and np.isfinite(table).all():
        return _complete_fit(table)
    return _blocked_fit(table) or _unblocked_fit(table)


def _complete_fit(table: Array) -> AdditiveFit:
    k, n = table.shape
    means, effects = table.mean(axis=1), table.mean(axis=0) - table.mean()
    squares = _sum_of_squares(table - means[:, None] - effects, table)
    return AdditiveFit(means, np.eye(k) / n, effects, (k - 1) * (n - 1), squares, True)


def _blocked_fit(table: Array) -> AdditiveFit | None:
    """Return the fit with seed effects; None if the seeds do not connect the batch sizes or leave no freedom."""
    k, n = table.shape
    rows, columns = np.nonzero(np.isfinite(table))
    design = np.zeros((len(rows), k + n))
    design[np.arange(len(rows)), rows] = 1
    design[np.arange(len(rows)), k + columns] = 1
    rank = int(np.linalg.matrix_rank(design))
    degrees = len(rows) - rank
    if k < 2 or rank < k + n - 1 or degrees < 1:
        return None
    y = table[rows, columns]
    inverse = np.linalg.pinv(design.T @ design)
    coefficients = inverse @ design.T @ y
    squares = _sum_of_squares(y - design @ coefficients, y)
    average = np.hstack([np.eye(k), np.full((k, n), 1 / n)])
    seeds = coefficients[k:]
    return AdditiveFit(
        average @ coefficients, average @ inverse @ average.T, seeds - seeds.mean(), degrees, squares, True
    )


def _unblocked_fit(table: Array) -> AdditiveFit:
    present = np.isfinite(table)
    counts = present.sum(axis=1)
    means = np.where(present, table, 0).sum(axis=1) / counts
    squares = _sum_of_squares((table - means[:, None])[present], table[present])
    zeros = np.zeros(table.shape[1])
    return AdditiveFit(means, np.diag(1 / counts), zeros, int(counts.sum() - len(counts)), squares, False)


def _sum_of_squares(residuals: Array, scores: Array) -> float:
    """Return the sum of squares, a residual that is no more than rounding being 0: repeats may be exact."""
    negligible = np.abs(residuals) <= ROUNDING * np.abs(scores).max()
    return float(np.sum(np.where(negligible, 0, residuals) ** 2))


def unstable_rows(table: Array) -> dict[int, float]:
    """Return the rows whose scores spread wildly more than those of the others, with the ratio of the variances.

    A row is unstable if the variance of its scores around the seed effects of the other rows exceeds theirs by more
    than 16 (4 in standard deviations) and by more than chance allows: an F test at .001 divided by the number of rows.
    The wildest is taken out first, then the rest is tested again, as long as more than half of the rows remain. Three
    rows and three scores in a row are needed.

    Source: Snedecor and Cochran, Statistical Methods (1989), for the F test of two variances.
    """
    found: dict[int, float] = {}
    rows = list(range(len(table)))
    while len(rows) >= 3 and 2 * (len(found) + 1) < len(table):
        tested = {row: ratio for row in rows if (ratio := _variance_ratio(table, row, rows)) is not None}
        if not tested:
            break
        worst = max(tested, key=lambda row: tested[row])
        found[worst] = tested[worst]
        rows.remove(worst)
    return found


def _variance_ratio(table: Array, row: int, rows: list[int]) -> float | None:
    """Return the variance of a row over that of the others; None if not significantly and much larger."""
    scores = table[row]
    others = table[[other for other in rows if other != row]]
    seeds = np.isfinite(others).any(axis=0)
    if np.isfinite(scores).sum() < 3 or np.any(np.isfinite(scores) & ~seeds):
        return None
    fit = fit_additive_model(others[:, seeds])
    if not fit.variance:
        return None
    deviations = (scores[seeds] - fit.seed_effects)[np.isfinite(scores[seeds])]
    ratio = float(np.var(deviations, ddof=1)) / fit.variance
    chance = float(scipy.stats.f.sf(ratio, len(deviations) - 1, fit.degrees_of_freedom))
    return ratio if ratio > LEAST_RATIO**2 and chance < LEVEL / len(table) else None


@cache
def range_point(count: int, degrees_of_freedom: float, level: float) -> float:
    """Return the number of standard errors within which the largest of equal means beats the smallest, with a chance.

        P((max_i Z_i - min_i Z_i)/sqrt(2) <= point * X) = level,   nu * X^2 ~ chi-square(nu)

    with independent standard normals Z_1 .. Z_count. Standard errors are those of a difference of two means,
    sigma*sqrt(2/n), hence the square root of 2. For two means it is the two-sided point of Student's t.

    Args:
        count: Means that are compared; at least 2.
        degrees_of_freedom: nu of the pooled standard deviation; `math.inf` for a known one.
        level: The chance, between 0 and 1, both excluded.

    Raises:
        ValueError: If an argument is out of its range.

    Source: Tukey, The Problem of Multiple Comparisons (1953), the studentized range.
    """
    if count < 2:
        raise ValueError(f"count must be at least 2; got {count}.")
    if not degrees_of_freedom > 0:
        raise ValueError(f"degrees_of_freedom must be positive; got {degrees_of_freedom}.")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1; got {level}.")
    return float(scipy.stats.studentized_range.isf(1 - level, count, degrees_of_freedom)) / math.sqrt(2)
