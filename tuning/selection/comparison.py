"""Batch sizes compared on the seeds that they share: a two-way additive model, its gaps and their errors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from tuning.selection.dunnett import dunnett_point

Array = npt.NDArray[np.float64]

LEVEL = 0.90


@dataclass(frozen=True)
class Comparison:
    """What the seeds say about the differences between batch sizes; larger scores are better.

    Args:
        batch_sizes: The k batch sizes, ascending.
        means: Estimated score of each, averaged over the same seeds for all.
        sigma: Standard deviation of one score after the seed's common effect is taken out; None if nothing was
            repeated, so that the noise is unknown.
        degrees_of_freedom: nu of sigma; (k-1)(n-1) when every batch size has all n seeds.
        covariance: (k, k), the variances and covariances of the means in units of sigma^2.
        blocked: Whether the seeds pair the batch sizes. Otherwise (too few seeds in common) the scores of a batch
            size are only repeats, and the differences between seeds count as noise.
        seeds: Completed seeds of each batch size.
    """

    batch_sizes: tuple[int, ...]
    means: tuple[float, ...]
    sigma: float | None
    degrees_of_freedom: int
    covariance: tuple[tuple[float, ...], ...]
    blocked: bool
    seeds: tuple[int, ...]

    @property
    def best(self) -> int:
        """The batch size of the largest mean; of equal ones the largest."""
        return max(zip(self.means, self.batch_sizes, strict=True))[1]

    def mean(self, batch_size: int) -> float:
        """Estimated score of a batch size."""
        return self.means[self._index(batch_size)]

    def gap(self, batch_size: int) -> float:
        """How far the batch size's mean lies below the best mean; never negative."""
        return max(self.means) - self.mean(batch_size)

    def standard_error(self, batch_size: int, other: int | None = None) -> float | None:
        """Standard error of the difference between two means, by default from the best; None if unknown.

        sigma*sqrt(2/n) when both have the same n seeds; wider where seeds are missing.
        """
        if self.sigma is None:
            return None
        i, j = self._index(batch_size), self._index(self.best if other is None else other)
        variance = self.covariance[i][i] + self.covariance[j][j] - 2 * self.covariance[i][j]
        return self.sigma * math.sqrt(max(variance, 0.0))

    def mean_error(self, batch_size: int) -> float | None:
        """Standard error of one mean, without the part that all batch sizes share: sigma/sqrt(n); None if unknown."""
        return None if self.sigma is None else self.sigma / math.sqrt(self.seeds[self._index(batch_size)])

    def interval(self, batch_size: int, level: float = LEVEL) -> tuple[float, float] | None:
        """Two-sided t interval of the gap to the best: gap -+ t(nu)*SE; None if the noise is unknown."""
        error = self.standard_error(batch_size)
        if error is None:
            return None
        half = float(stats.t.isf((1 - level) / 2, self.degrees_of_freedom)) * error
        return self.gap(batch_size) - half, self.gap(batch_size) + half

    @property
    def critical(self) -> float | None:
        """d: how many standard errors a gap must exceed to be called worse (`dunnett_point` at 90 %)."""
        if self.sigma is None or len(self.batch_sizes) < 2:
            return None
        return dunnett_point(len(self.batch_sizes) - 1, self.degrees_of_freedom, LEVEL)

    def is_worse(self, batch_size: int) -> bool:
        """Whether the gap exceeds d standard errors: with 90 % chance no batch size is called so by mistake."""
        error, critical = self.standard_error(batch_size), self.critical
        if error is None or critical is None or batch_size == self.best:
            return False
        return self.gap(batch_size) > critical * error

    def seeds_to_separate(self, batch_size: int) -> int | None:
        """Seeds that would call this gap worse, if it is real: ceil(2*(d*sigma/gap)^2); None if unknown or no gap."""
        gap, critical = self.gap(batch_size), self.critical
        if self.sigma is None or critical is None or gap <= 0:
            return None
        return max(2, math.ceil(2 * (critical * self.sigma / gap) ** 2))

    def _index(self, batch_size: int) -> int:
        return self.batch_sizes.index(batch_size)


def compare(scores: Mapping[int, Mapping[int, float]]) -> Comparison:
    """Compare batch sizes by the two-way additive model, blocked by seed.

        y[b,s] = mu[b] + u[s] + e[b,s],   e independent with one variance sigma^2

    fitted by least squares. With every seed present, mu[b] is the plain mean, and

        r[b,s] = y[b,s] - mean_s y[b,.] - mean_b y[.,s] + mean y;   nu = (k-1)(n-1);   sigma = sqrt(sum r^2/nu)

    With seeds missing, the same model still uses every score: a batch size that lacks an easy seed is not blamed for
    it, and its error is wider. Where the seeds do not connect all batch sizes, or leave no degree of freedom, the model
    is `y[b,s] = mu[b] + e[b,s]` instead (`blocked` False). Missing is taken to be by chance: a run that broke *because*
    of its batch size must be excluded by the caller.

    Args:
        scores: Score by seed, by batch size; larger is better, finite; at least one each.

    Raises:
        ValueError: If there is no batch size, one without scores, or a score that is not finite.

    Source: the additive model of a randomised block design, for example Montgomery, Design and Analysis of Experiments;
        seeds as blocks: Bouthillier et al., Accounting for Variance in Machine Learning Benchmarks (2021).
    """
    batch_sizes = tuple(sorted(scores))
    if not batch_sizes or not all(scores[b] for b in batch_sizes):
        raise ValueError(f"compare needs at least one score for each batch size; got {dict(scores)!r:.80}.")
    if not all(math.isfinite(y) for by_seed in scores.values() for y in by_seed.values()):
        raise ValueError("compare needs finite scores; leave out the runs that have none.")
    seeds = sorted({seed for by_seed in scores.values() for seed in by_seed})
    table = np.array([[scores[b].get(s, math.nan) for s in seeds] for b in batch_sizes])
    blocked = _blocked_fit(table)
    means, covariance, dof, residual = blocked or _unblocked_fit(table)
    return Comparison(
        batch_sizes=batch_sizes,
        means=tuple(float(m) for m in means),
        sigma=math.sqrt(residual / dof) if dof > 0 else None,
        degrees_of_freedom=dof,
        covariance=tuple(tuple(float(v) for v in row) for row in covariance),
        blocked=blocked is not None,
        seeds=tuple(len(scores[b]) for b in batch_sizes),
    )


Fit = tuple[Array, Array, int, float]  # means (k,), covariance (k, k) / sigma^2, degrees of freedom, sum of squares


def _blocked_fit(table: Array) -> Fit | None:
    """Least squares of the additive model on a (k, n) table with NaN where a run is missing; None if unconnected."""
    present = np.isfinite(table)
    k, n = table.shape
    rows, columns = np.nonzero(present)
    design = np.zeros((len(rows), k + n))
    design[np.arange(len(rows)), rows] = 1
    design[np.arange(len(rows)), k + columns] = 1
    rank = int(np.linalg.matrix_rank(design))
    dof = len(rows) - rank
    if rank < k + n - 1 or dof < 1 or k < 2:
        return None
    y = table[rows, columns]
    inverse = np.linalg.pinv(design.T @ design)
    coefficients = inverse @ design.T @ y
    residual = float(np.sum((y - design @ coefficients) ** 2))
    average = np.hstack([np.eye(k), np.full((k, n), 1 / n)])  # mu[b] + mean of u over all the seeds
    return average @ coefficients, average @ inverse @ average.T, dof, residual


def _unblocked_fit(table: Array) -> Fit:
    """Plain means of a (k, n) table with NaN where a run is missing, and the spread around them."""
    present = np.isfinite(table)
    counts = present.sum(axis=1)
    means = np.where(present, table, 0).sum(axis=1) / counts
    residual = float(np.sum(np.where(present, table - means[:, None], 0) ** 2))
    return means, np.diag(1 / counts), int(counts.sum() - len(counts)), residual
