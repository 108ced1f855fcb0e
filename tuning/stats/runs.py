"""Runs: what was measured by batch size and seed, boiled down to what it says of the batch sizes' true means."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Information:
    """What runs say of the k true means m, given sigma, the noise of a typical run.

        ln p(runs | m, sigma) = volume - degrees*ln sigma
                                - (rest + (m - fitted)' precision (m - fitted))/(2 sigma^2) + constant

    The common effects of the seeds are integrated out with a flat prior, so that a common shift of m changes nothing.

    Args:
        precision: (k, k) float64; its rows add up to 0.
        fitted: (k,) float64, the means by least squares.
        rest: The sum of squares around them.
        volume: The part of the likelihood that depends on the noise of the batch sizes relative to each other alone.
        degrees: Runs less seeds.
    """

    precision: Array
    fitted: Array
    rest: float
    volume: float
    degrees: int

    @property
    def residual_degrees(self) -> int:
        """The degrees of freedom of `rest`: runs less seeds and differences of means."""
        return self.degrees - int(np.linalg.matrix_rank(self.precision))


@dataclass(frozen=True)
class Runs:
    """Every run: `y[r] = m[size of r] + u[block of r] + e[r]`.

    Args:
        batch_sizes: The k batch sizes, ascending.
        values: (n,) float64, what was measured; larger is better.
        rows: (n,) int64, the index of the batch size of each.
        blocks: (n,) int64, the index of the seed, or 0 for all where seeds do not pair the batch sizes.
        inflation: (k,) float64, the variance of the runs of each batch size known to be unlike that of the others.
    """

    batch_sizes: tuple[int, ...]
    values: Array
    rows: npt.NDArray[np.int64]
    blocks: npt.NDArray[np.int64]
    inflation: Array

    @property
    def logs(self) -> Array:
        """(k,) float64, the logarithms of the batch sizes."""
        return np.asarray(np.log(np.array(self.batch_sizes, dtype=float)))

    def shifted(self, offsets: Mapping[int, float]) -> Runs:
        """Return the same with a known number added to every run of each batch size."""
        added = np.array([offsets[size] for size in self.batch_sizes])
        return Runs(self.batch_sizes, self.values + added[self.rows], self.rows, self.blocks, self.inflation)

    def information(self, trend: float) -> Information:
        """Return what the runs say if ln of their standard deviation rises by `trend` over the batch sizes tested.

        With W = diag(1/v), v the relative variances, X and Z the incidence of batch sizes and blocks,

            M = W - W Z (Z'WZ)^-1 Z'W;   precision = X'MX;   fitted = precision^+ X'My
            rest = (y - X fitted)'M(y - X fitted)

        Source: Searle, Casella and McCulloch, Variance Components (1992), section 6.6, the likelihood free of effects.
        """
        weights = 1 / self._variances(trend)
        sizes = np.eye(len(self.batch_sizes))[self.rows]
        blocks = np.eye(int(self.blocks.max()) + 1)[self.blocks]
        weighted = blocks * weights[:, None]
        square = blocks.T @ weighted
        middle = np.diag(weights) - weighted @ np.linalg.solve(square, weighted.T)
        precision = sizes.T @ middle @ sizes
        fitted = np.linalg.pinv(precision, hermitian=True) @ (sizes.T @ middle @ self.values)
        left = self.values - sizes @ fitted
        left = left - blocks @ np.linalg.solve(square, weighted.T @ left)
        volume = 0.5 * float(np.log(weights).sum()) - 0.5 * float(np.linalg.slogdet(square)[1])
        rest = float(weights @ left**2)
        return Information(precision, fitted, rest, volume, len(self.values) - blocks.shape[1])

    def _variances(self, trend: float) -> Array:
        return (self.inflation * np.exp(2 * trend * unit_scale(self.logs)))[self.rows]


def unit_scale(logs: Array) -> Array:
    """Return the logarithms of batch sizes, ascending, centred and divided by their span."""
    span = float(logs[-1] - logs[0])
    return (logs - logs.mean()) / span if span > 0 else np.zeros_like(logs)


def runs_of(scores: Mapping[int, Mapping[int, float]], *, blocked: bool, inflation: Sequence[float] = ()) -> Runs:
    """Return the runs that are compared, less the mean of them all.

    Args:
        scores: Score by seed, by batch size; at least one each.
        blocked: Whether seeds pair the batch sizes.
        inflation: The variance of the runs of each batch size, ascending, where it is known to be unlike the others'.
    """
    sizes = tuple(sorted(scores))
    seeds = sorted({seed for size in sizes for seed in scores[size]})
    entries = [(y, i, seeds.index(s)) for i, size in enumerate(sizes) for s, y in scores[size].items()]
    values, rows, blocks = (np.array(column) for column in zip(*entries, strict=True))
    return Runs(
        sizes,
        values.astype(float) - float(values.mean()),
        rows,
        blocks if blocked else np.zeros_like(blocks),
        np.array(inflation or (1.0,) * len(sizes)),
    )


TRENDS = np.linspace(-2.4, 2.4, 9)
TREND_SPREAD = 0.7


def trend_of(runs: Runs) -> tuple[float, float]:
    """Return how much ln of the noise rises from the smallest batch size to the largest, and the error of that.

    Shrunk towards 0, they are the posterior mean and standard deviation under N(0, 0.7^2), by which the noise changes
    over all batch sizes by less than a factor of 2 in two studies of three. The likelihood is free of means, seeds and
    sigma: with D the incidence of batch sizes and all seeds but one, p its columns, W = diag(1/v),

        ln p = 1/2 sum ln W - 1/2 ln det D'WD - (n - p)/2 ln(residual squares weighted by W)

    Args:
        runs: With a positive sum of residual squares.

    Source: Patterson and Thompson, Recovery of inter-block information when block sizes are unequal (1971).
    """
    sizes = np.eye(len(runs.batch_sizes))[runs.rows]
    design = np.hstack([sizes, np.eye(int(runs.blocks.max()) + 1)[runs.blocks][:, 1:]])
    places = unit_scale(runs.logs)[runs.rows]
    weights = np.exp(-2 * TRENDS[:, None] * places) / runs.inflation[runs.rows]
    weighted = design.T * weights[:, None, :]
    square = weighted @ design
    fitted = np.linalg.solve(square, (weighted @ runs.values)[:, :, None])[:, :, 0]
    rest = np.sum(weights * (runs.values - fitted @ design.T) ** 2, axis=1)
    chances = 0.5 * np.log(weights).sum(axis=1) - 0.5 * np.linalg.slogdet(square)[1]
    chances += -0.5 * (len(places) - design.shape[1]) * np.log(rest) - 0.5 * (TRENDS / TREND_SPREAD) ** 2
    posterior = np.exp(chances - chances.max())
    posterior /= posterior.sum()
    mean = float(posterior @ TRENDS)
    return mean, math.sqrt(float(posterior @ (TRENDS - mean) ** 2))
