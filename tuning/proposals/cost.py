"""CostModel: what a trial costs at a batch size, from the trials that were timed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from tuning.proposals.axes import Array

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
