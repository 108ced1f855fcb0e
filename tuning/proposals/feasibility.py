"""Feasibility: which points memory rules out, from where it ran out and where it did not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tuning.proposals.axes import Array, Mask


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
