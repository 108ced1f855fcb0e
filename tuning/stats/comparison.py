"""Batch sizes compared on the seeds that they share: means, gaps to the best, and their errors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tuning.stats.additive_model import ROUNDING, Array, fit_additive_model, range_point, unstable_rows
from tuning.stats.runs import runs_of, trend_of, unit_scale

LEVEL = 0.90
DEGREES = (1, 2, 3, 4, 5, 6, 8, 12, 20, 40)
"""Degrees of freedom that are told apart: the next lower one is taken, since a point of the range takes 0.1 s."""


@dataclass(frozen=True)
class Comparison:
    """What the seeds say about the differences between batch sizes; larger scores are better.

    Args:
        batch_sizes: The k batch sizes, ascending.
        means: The estimated score of each, averaged over the same seeds for all.
        sigma: The standard deviation of one score after the seed's common effect is taken out; None if nothing was
            repeated, so that the noise is unknown.
        degrees_of_freedom: nu of sigma; (k-1)(n-1) when every batch size has all n seeds.
        covariance: (k, k), the variances and covariances of the means in units of sigma^2.
        blocked: Whether the seeds pair the batch sizes. Otherwise (too few seeds in common) the scores of a batch
            size are only repeats, and the differences between seeds count as noise.
        seeds: The number of completed seeds of each batch size.
        inflation: The variance of one score of each batch size over sigma^2: 1, or more where its scores
            spread wildly more than those of the others. Such a batch size does not enter sigma.
        trend: How much ln of the noise rises from the smallest batch size to the largest, and its error (`trend_of`).
        shared: The variance of what all scores of a batch size share, as an error of its clock; empty for none. It
        enters
            what is called worse, not the standard errors, which are those of the scores.
    """

    batch_sizes: tuple[int, ...]
    means: tuple[float, ...]
    sigma: float | None
    degrees_of_freedom: int
    covariance: tuple[tuple[float, ...], ...]
    blocked: bool
    seeds: tuple[int, ...]
    inflation: tuple[float, ...]
    trend: tuple[float, float] = (0.0, 0.0)
    shared: tuple[float, ...] = ()

    @property
    def best(self) -> int:
        """The batch size of the largest mean; of equal ones the largest."""
        return max(zip(self.means, self.batch_sizes, strict=True))[1]

    @property
    def unstable(self) -> tuple[int, ...]:
        """The batch sizes whose scores spread wildly more than those of the others."""
        return tuple(size for size, factor in zip(self.batch_sizes, self.inflation, strict=True) if factor > 1)

    def mean(self, batch_size: int) -> float:
        """Return the estimated score of a batch size."""
        return self.means[self._index(batch_size)]

    def gap(self, batch_size: int) -> float:
        """Return how far the batch size's mean lies below the best mean; not negative, 0 where it is rounding."""
        gap = max(self.means) - self.mean(batch_size)
        return gap if gap > ROUNDING * max(map(abs, self.means)) else 0.0

    def standard_error(self, batch_size: int, other: int | None = None) -> float | None:
        """Return the standard error of the difference between two means, by default from the best; None if unknown.

        It is sigma*sqrt(2/n) when both have the same n seeds, and wider where seeds are missing or scores unstable.
        """
        return self._error(batch_size, self.best if other is None else other, self.inflation)

    def common_error(self, batch_size: int) -> float | None:
        """Return the standard error from the best as if every batch size were as stable as most.

        It is the yardstick for what is near enough: a wild batch size must not be let in because it is wild.
        """
        return self._error(batch_size, self.best, (1.0,) * len(self.batch_sizes))

    def mean_error(self, batch_size: int) -> float | None:
        """Return the standard error of one mean without the part that all share: sigma/sqrt(n); None if unknown."""
        if self.sigma is None:
            return None
        i = self._index(batch_size)
        return self.sigma * math.sqrt(self.inflation[i] / self.seeds[i])

    def noise_covariance(self) -> Array:
        """Return the (k, k) float64 covariance of the means in units of sigma^2, wider where scores are unstable."""
        covariance = np.array(self.covariance)
        return covariance + np.diag((np.array(self.inflation) - 1) * np.diag(covariance))

    @cached_property
    def worse(self) -> frozenset[int]:
        """The batch sizes that are worse than the best: with 90 % chance none of them is called so by mistake.

        With the gaps in standard errors, t_2 <= .. <= t_k, the largest is compared with what the range of k equal means
        stays below in nine of ten studies (`range_point`), the next with that of k - 1, and so on to the first that
        stays below; it and all before it are not called worse. That is the closed test of which batch sizes may equal
        the best: one is called worse if every set of equal means that holds both is refused.

        The noise may rise or fall with the batch size: an error here is of the two means' own variances, sigma^2 times
        `exp(2*trend*x)` over its average, x = ln B centred and scaled to a span of 1. How well that is known enters as
        Satterthwaite would have it, with w the relative error of the sum v of the two variances:

            nu' = 2/(2/nu + w^2),   w = 2*error of the trend*(v_b x_b + v_best x_best)/(v_b + v_best)

        In studies of six equal batch sizes whose noise rises from 1 to 5, any is called worse in 5 to 9 % of studies
        with 2, 3 or 5 seeds; with one variance for all that would be 14 to 17 %.

        Source: Marcus, Peritz and Gabriel, On closed testing procedures (1976); ranges step by step: Keuls (1952);
            Satterthwaite, An approximate distribution of estimates of variance components (1946).
        """
        found: list[int] = []
        for count, size in reversed(list(enumerate(self._by_evidence(), start=1))):
            error = self._own_error(size)
            if count < 2 or error is None:
                break
            if not self.gap(size) > range_point(count, self._degrees(size), LEVEL) * error:
                break
            found.append(size)
        return frozenset(found)

    def is_worse(self, batch_size: int) -> bool:
        """Return whether a batch size is worse than the best (`worse`); False where the noise is unknown."""
        return batch_size in self.worse

    def seeds_to_separate(self, batch_size: int) -> int | None:
        """Return the seeds that would call this gap worse, if it is real and those of more evidence are.

        It is ceil(2*(d*sigma/gap)^2) with the point d of `worse`; None if unknown.
        """
        gap = self.gap(batch_size)
        if self.sigma is None or gap <= 0:
            return None
        count = self._by_evidence().index(batch_size) + 1
        point = range_point(max(2, count), self.degrees_of_freedom, LEVEL)
        return max(2, math.ceil(2 * (point * self.sigma / gap) ** 2))

    def _by_evidence(self) -> list[int]:
        """Return the best batch size, then the others by their gaps in standard errors, ascending."""

        def evidence(size: int) -> tuple[bool, float, float]:
            gap, error = self.gap(size), self._own_error(size)
            without_error = math.inf if gap > 0 else 0.0
            return size != self.best, gap / error if error else without_error, gap

        return sorted(self.batch_sizes, key=evidence)

    def _index(self, batch_size: int) -> int:
        return self.batch_sizes.index(batch_size)

    def _degrees(self, batch_size: int) -> float:
        """Return nu of the difference from the best: of sigma and the trend, or of what is unstable in it alone."""
        pair = self._index(batch_size), self._index(self.best)
        wild = [self.seeds[i] - 1 for i in pair if self.batch_sizes[i] in self.unstable]
        own, places = self._relative_variances, self._places
        slope = 2 * sum(own[i] * places[i] for i in pair) / sum(own[i] for i in pair)
        known = 2 / (2 / self.degrees_of_freedom + (slope * self.trend[1]) ** 2)
        told = known if not self.trend[1] else max(each for each in DEGREES if each <= max(1.0, known))
        return min([told, *wild])

    def _own_error(self, batch_size: int) -> float | None:
        """Return the standard error from the best, each of the two means with the noise of its own batch size."""
        pairs = zip(self._relative_variances, self.inflation, strict=True)
        error = self._error(batch_size, self.best, tuple(wild if wild > 1 else own for own, wild in pairs))
        if error is None or not self.shared or batch_size == self.best:
            return error
        return math.sqrt(error**2 + sum(self.shared[self._index(size)] for size in (batch_size, self.best)))

    @cached_property
    def _places(self) -> tuple[float, ...]:
        return tuple(unit_scale(np.log(np.array(self.batch_sizes, dtype=float))).tolist())

    @cached_property
    def _relative_variances(self) -> tuple[float, ...]:
        """The variance of one score of each batch size over sigma^2, which is their average, by the trend."""
        variances = [math.exp(2 * self.trend[0] * place) for place in self._places]
        return tuple(each * len(variances) / sum(variances) for each in variances)

    def _error(self, batch_size: int, other: int, inflation: tuple[float, ...]) -> float | None:
        if self.sigma is None:
            return None
        i, j = self._index(batch_size), self._index(other)
        common = self.covariance[i][j]
        own = inflation[i] * self.covariance[i][i] + inflation[j] * self.covariance[j][j]
        return 0.0 if i == j else self.sigma * math.sqrt(max(own - 2 * common, 0.0))


def compare(scores: Mapping[int, Mapping[int, float]]) -> Comparison:
    """Return the batch sizes compared by the two-way additive model, blocked by seed.

        y[b,s] = mu[b] + u[s] + e[b,s],   e independent with one variance sigma^2

    fitted by least squares. With every seed present, mu[b] is the plain mean, and

        r[b,s] = y[b,s] - mean_s y[b,.] - mean_b y[.,s] + mean y;   nu = (k-1)(n-1);   sigma = sqrt(sum r^2/nu)

    With seeds missing, the same model still uses every score: a batch size that lacks an easy seed is not blamed for
    it, and its error is wider. Where the seeds do not connect all batch sizes, or leave no degree of freedom, the model
    is `y[b,s] = mu[b] + e[b,s]` instead (`blocked` False). Missing is taken to be by chance: a run that broke *because*
    of its batch size must be excluded by the caller.

    One variance for all is what makes three seeds enough; a batch size that plainly has another one (`unstable_rows`)
    keeps its mean but not its say in sigma, so that one collapsed run does not blur every other difference.

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
    wild = unstable_rows(table)
    fit = fit_additive_model(table)
    noise = fit_additive_model(np.delete(table, list(wild), axis=0)) if wild else fit
    inflation = tuple(wild.get(i, 1.0) for i in range(len(batch_sizes)))
    known = noise.variance is not None and noise.variance > 0 and len(batch_sizes) > 2
    return Comparison(
        batch_sizes=batch_sizes,
        means=tuple(float(m) for m in fit.means),
        sigma=None if noise.variance is None else math.sqrt(noise.variance),
        degrees_of_freedom=noise.degrees_of_freedom,
        covariance=tuple(tuple(float(v) for v in row) for row in fit.covariance),
        blocked=fit.blocked,
        seeds=tuple(len(scores[b]) for b in batch_sizes),
        inflation=inflation,
        trend=trend_of(runs_of(scores, blocked=fit.blocked, inflation=inflation)) if known else (0.0, 0.0),
    )
