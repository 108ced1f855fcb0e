"""What trials teach a proposal: their values, their seconds, and what did not fit into memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from tuning.proposals.axes import Array, Mask
from tuning.proposals.gaussian_process import Pooled
from tuning.proposals.stopped import Courses
from tuning.proposals.warping import warp


@dataclass(frozen=True)
class Observations:
    """Trials that have ended.

    Args:
        points: (n, axes); a point that was repeated is there as often.
        values: (n,) what came out, larger is better; NaN for a training that diverged, or was stopped.
        courses: How they stood on the way; None where none was stopped.
    """

    points: Array
    values: Array
    courses: Courses | None = None

    def distinct(self) -> tuple[Array, NDArray[np.intp]]:
        """The distinct points, and for each trial which of them it is of."""
        _, first, where = np.unique(
            np.nan_to_num(self.points, nan=-1.0), axis=0, return_index=True, return_inverse=True
        )
        return self.points[first], where.reshape(-1)

    def pooled(self) -> tuple[Array, Pooled]:
        """The distinct points, and their warped values taken together."""
        values, doubts = self._warped()
        points, where = self.distinct()
        repeats = np.bincount(where).astype(float)
        means = np.bincount(where, weights=values) / repeats
        within = np.asarray(np.bincount(where, weights=(values - means[where]) ** 2), dtype=float)
        return points, Pooled(means, repeats, within, np.bincount(where, weights=doubts) / repeats**2)

    def _warped(self) -> tuple[Array, Array]:
        """(n,) warped values, and the variance of each beyond the noise between seeds.

        A diverged training counts as the worst value there is; how bad infinity is would be anyone's guess. A stopped
        one counts as those that went on say that it would have ended, and not for sure.
        """
        values = np.where(np.isnan(self.values), np.nanmin(self.values), self.values)
        if self.courses is None or not self.courses.stopped.any():
            return warp(values), np.zeros(len(values))
        ended = ~self.courses.stopped
        values[ended] = warp(values[ended])
        values, doubts = self.courses.endings(values)
        deviation = float(values.std()) or 1.0
        return (values - values.mean()) / deviation, doubts / deviation**2


@dataclass(frozen=True)
class MemoryEvidence:
    """Trials that tell about memory.

    Args:
        failed_sizes: (f,) batch sizes at which memory ran out.
        failed_models: (f, columns) the hyperparameters of these models.
        worked_sizes: (w,) batch sizes that trained.
        worked_models: (w, columns) the hyperparameters of these.
    """

    failed_sizes: Array
    failed_models: Array
    worked_sizes: Array
    worked_models: Array

    def allows(self, sizes: Array, models: Array) -> Mask:
        """(n,) whether points of these sizes and hyperparameters may be tried.

        Memory grows with the batch size: a failure rules out its size and all larger, for its own model and for every
        other one, except those nearer to a model, or at one, that trained at that size or a larger one.

        Args:
            sizes: (n,) batch sizes.
            models: (n, columns) hyperparameters.
        """
        allowed = np.ones(len(sizes), dtype=bool)
        for size, model in zip(self.failed_sizes, self.failed_models, strict=True):
            models_that_fit = self.worked_models[self.worked_sizes >= size]
            from_failure = _distances(models, model[None, :])
            allowed &= (sizes < size) | (_distances(models, models_that_fit) <= from_failure)
        return allowed


def _distances(points: Array, others: Array) -> Array:
    """(n,) the squared distance of each point from the nearest of the others; infinite where there are none."""
    if not len(others):
        return np.full(len(points), np.inf)
    return np.asarray(((points[:, None, :] - others[None, :, :]) ** 2).sum(axis=2).min(axis=1))


_PASSES = 4
_RIDGE = 0.3  # in trials: what a column has to show before the model believes that it changes the cost


@dataclass(frozen=True)
class CostModel:
    """Seconds of a trial over a fixed number of examples E at batch size B and features x:

        (E * t0 / B + E * c) * exp(w . (x - mean))

    Args:
        overhead: `E * t0`, with t0 the seconds of an update.
        compute: `E * c`, with c the seconds of an example in it.
        weights: (columns,) w: how a wider or deeper model changes both.
        centre: (columns,) the mean features of the trials.
    """

    overhead: float
    compute: float
    weights: Array
    centre: Array

    def log_seconds(self, batch_sizes: Array, features: Array) -> Array:
        """(n,) logarithms of the seconds at (n,) batch sizes and (n, columns) features."""
        return np.asarray(np.log(self.overhead / batch_sizes + self.compute) + (features - self.centre) @ self.weights)


def fit_cost(batch_sizes: Array, features: Array, seconds: Array) -> CostModel | None:
    """Fit E*t0 and E*c by non-negative least squares on relative errors and w by ridge regression, in turns.

    Args:
        batch_sizes: (n,) of the trials.
        features: (n, columns) of them, each within [0, 1]; without the batch size.
        seconds: (n,) training seconds, positive.

    Returns:
        None before two batch sizes were timed.

    Source: Guinet, Perrone and Archambeau 2020, arXiv 2011.06673: parametric models of cost.
    """
    if len(set(batch_sizes.tolist())) < 2:
        return None
    centre = features.mean(axis=0)
    columns = features - centre
    weights = np.zeros(features.shape[1])
    for _ in range(_PASSES):
        typical = seconds / np.exp(columns @ weights)
        rows = np.column_stack([1.0 / batch_sizes, np.ones(len(seconds))]) / typical[:, None]
        (overhead, compute), _ = nnls(rows, np.ones(len(seconds)))
        residuals = np.log(seconds / (overhead / batch_sizes + compute))
        penalty = _RIDGE * np.eye(len(weights))
        weights = np.linalg.solve(columns.T @ columns + penalty, columns.T @ (residuals - residuals.mean()))
    return CostModel(float(overhead), float(compute), weights, centre)
