"""The two-way model of scores, batch size plus seed, and simultaneous comparisons with its best."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats

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
    chance = float(stats.f.sf(ratio, len(deviations) - 1, fit.degrees_of_freedom))
    return ratio if ratio > LEAST_RATIO**2 and chance < LEVEL / len(table) else None


_Array = npt.NDArray[np.float64]

# Gauss-Legendre nodes and weights of each axis: the values agree with 400 nodes to 1e-9.
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(96)


@cache
def dunnett_point(comparisons: int, degrees_of_freedom: float, level: float) -> float:
    """Return the d that `comparisons` equicorrelated t statistics stay below together with chance `level`.

        P(max_i (Z_i - Z_0)/sqrt(2) <= d * X) = level,   nu * X^2 ~ chi-square(nu)

    where Z_0 (the one that all are compared with) and Z_1 .. Z_c are independent standard normals, so that any two
    comparisons have correlation 1/2, as equally many seeds for each batch size give. Given Z_0 = z and X = x the
    comparisons are independent, hence the double integral

        integral over x, z of  Phi(sqrt(2)*d*x + z)^c  phi(z) f_nu(x) dz dx

    With the observed best as the common reference this is Hsu's multiple comparison with the best: the truly best is
    among those with a gap of at most d standard errors with chance of at least `level`.

    Args:
        comparisons: c, the batch sizes compared with the best: k - 1.
        degrees_of_freedom: nu of the pooled standard deviation; `math.inf` for a known one.
        level: Joint chance, between 0.5 and 1, both excluded.

    Raises:
        ValueError: If an argument is out of its range.

    Source: Dunnett, A multiple comparison procedure for comparing several treatments with a control (1955);
        Hsu, Constrained simultaneous confidence intervals for multiple comparisons with the best (1984).
    """
    if comparisons < 1:
        raise ValueError(f"comparisons must be at least 1; got {comparisons}.")
    if not degrees_of_freedom > 0:
        raise ValueError(f"degrees_of_freedom must be positive; got {degrees_of_freedom}.")
    if not 0.5 < level < 1:
        raise ValueError(f"level must lie between 0.5 and 1; got {level}.")
    scales, weights = _scale_nodes(degrees_of_freedom)
    bonferroni = float(stats.t.isf((1 - level) / comparisons, degrees_of_freedom))

    def excess(d: float) -> float:
        return float(weights @ _below(d * scales, comparisons)) - level

    return float(optimize.brentq(excess, 0.0, 1.01 * bonferroni, xtol=1e-10))


def _below(limits: _Array, comparisons: int) -> _Array:
    """Return P(max_i (Z_i - Z_0) <= sqrt(2)*limit) for each limit."""
    z = 8.5 * _NODES
    weights = 8.5 * _WEIGHTS * stats.norm.pdf(z)
    inner: _Array = stats.norm.cdf(math.sqrt(2) * limits[:, None] + z[None, :]) ** comparisons @ weights
    return inner


def _scale_nodes(degrees_of_freedom: float) -> tuple[_Array, _Array]:
    """Return nodes x and weights for the mean over X = sqrt(chi-square(nu)/nu), equally spaced in probability terms."""
    if math.isinf(degrees_of_freedom):
        return np.ones(1), np.ones(1)
    tail = 1e-12
    low, high = np.sqrt(stats.chi2.ppf([tail, 1 - tail], degrees_of_freedom) / degrees_of_freedom)
    x = (high + low) / 2 + (high - low) / 2 * _NODES
    density = 2 * degrees_of_freedom * x * stats.chi2.pdf(degrees_of_freedom * x**2, degrees_of_freedom)
    return x, (high - low) / 2 * _WEIGHTS * density
