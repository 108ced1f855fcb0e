"""Observations: what trials have shown, with the repeats of a point taken together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tuning.proposals.axes import Array
from tuning.proposals.likelihood import Pooled
from tuning.proposals.warping import warp


@dataclass(frozen=True)
class Observations:
    """Trials that have ended.

    Args:
        points: (n, axes); a point that was repeated is there as often.
        values: (n,) what came out, larger is better; NaN for a training that diverged.
    """

    points: Array
    values: Array

    def distinct(self) -> tuple[Array, NDArray[np.intp]]:
        """The distinct points, and for each trial which of them it is of."""
        _, first, where = np.unique(
            np.nan_to_num(self.points, nan=-1.0), axis=0, return_index=True, return_inverse=True
        )
        return self.points[first], where.reshape(-1)

    def pooled(self) -> tuple[Array, Pooled]:
        """The distinct points, and their warped values taken together.

        A diverged training counts as the worst value there is; how bad infinity is would be anyone's guess.
        """
        values = warp(np.where(np.isnan(self.values), np.nanmin(self.values), self.values))
        points, where = self.distinct()
        repeats = np.bincount(where).astype(float)
        means = np.bincount(where, weights=values) / repeats
        within = np.asarray(np.bincount(where, weights=(values - means[where]) ** 2), dtype=float)
        return points, Pooled(means, repeats, within)
