"""What trainings that were stopped would have come to, by those that went on to the end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tuning.proposals.axes import Array, Mask
from tuning.proposals.gaussian_process import GaussianProcess, Pooled, fit, group_distances
from tuning.proposals.warping import warp

_DEVIATIONS = np.array([1.0, 0.5])  # of offset and slope beforehand, for values of deviation 1
_VARIANCE, _WEIGHT = 0.25, 3.0  # of what a line leaves, as if so many trainings had shown it
_PASSES = 3


@dataclass(frozen=True)
class Courses:
    """How trainings stood at the shares of their budget, the rungs, at which they may be stopped.

    Args:
        scores: (n, rungs) there, larger is better; NaN where a training did not come to a rung.
        stopped: (n,) whether it was stopped; at the last rung that it came to.
        features: (n, columns) of the settings.
        groups: (columns,) the axis of each feature.
    """

    scores: Array
    stopped: Mask
    features: Array
    groups: NDArray[np.intp]

    def endings(self, finals: Array) -> tuple[Array, Array]:
        """The values of all trainings, and the variance of each beyond the noise: 0 for those that were not stopped.

        From the standing u at a rung, warped among all that came to it, follows the final value

            z = u + a + b * u + d(x) + e

        by those that went on from there: a line, and a Gaussian process d over the settings x for what the line leaves,
        since batch sizes and rates differ in how much is still to come after as many examples.

        Args:
            finals: (n,) warped final values; those of stopped trainings are not looked at.

        Source: Kennedy and O'Hagan 2000, Biometrika 87, equation 1: what is cheap, times a factor, and a process.
        """
        values, variances = finals.copy(), np.zeros(len(finals))
        last = np.where(np.isnan(self.scores), -1, np.arange(self.scores.shape[1])).max(axis=1)
        for rung in sorted(set(last[self.stopped].tolist())):
            asked = self.stopped & (last == rung)
            values[asked], variances[asked] = self._endings_from(self.scores[:, rung], asked, finals)
        return values, variances

    def _endings_from(self, scores: Array, asked: Mask, finals: Array) -> tuple[Array, Array]:
        there = np.isfinite(scores)
        told = there & ~self.stopped
        standing = np.zeros(len(finals))
        standing[there] = warp(scores[there])
        standing -= standing[told if told.any() else there].mean()
        design = np.column_stack([np.ones(len(finals)), standing])
        weights, variance = line(design[told], finals[told] - standing[told])
        values = standing[asked] + design[asked] @ weights
        if not told.any():
            return values, variance + ((design[asked] * _DEVIATIONS) ** 2).sum(axis=1)
        rest = finals[told] - standing[told] - design[told] @ weights
        means, variances = self._process_of(told, rest / variance**0.5, asked)
        return values + variance**0.5 * means, variance * variances

    def _process_of(self, told: Mask, values: Array, asked: Mask) -> tuple[Array, Array]:
        """Return the means and variances of single values."""
        pooled = Pooled(values, np.ones(len(values)), np.zeros(len(values)), np.zeros(len(values)))
        features = self.features[told]
        logs = fit(group_distances(features, self.groups), pooled)
        process = GaussianProcess(features, pooled, logs=logs, groups=self.groups)
        means, variances = process.posterior(self.features[asked])
        return means, variances + process.noise_variance


def line(design: Array, values: Array) -> tuple[Array, float]:
    """The offset and slope of values that are believed to be near 0, and the variance v of what the line leaves.

    With weights `w ~ N(0, D)` and values `y = X w + e`, `e ~ N(0, v)`, the most probable ones are

        w = (X'X / v + D^-1)^-1 X'y / v

    where v starts at 1/4 and is then `(sum of squared residuals + 3/4) / (n + 3)`, in turns.

    Args:
        design: (n, 2) X: ones, and what the values are a line in.
        values: (n,) y.

    Source: Bishop 2006, Pattern Recognition and Machine Learning, equations 3.53 and 3.54.
    """
    variance = _VARIANCE
    weights: Array = np.zeros(2)
    for _ in range(_PASSES):
        precision = design.T @ design / variance + np.diag(_DEVIATIONS**-2.0)
        weights = np.asarray(np.linalg.solve(precision, design.T @ values / variance), dtype=float)
        residuals = values - design @ weights
        variance = (float(residuals @ residuals) + _WEIGHT * _VARIANCE) / (len(values) + _WEIGHT)
    return weights, variance
