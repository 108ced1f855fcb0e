"""Axes: a mixed search space as numbers.

A point is a row of one float per axis: a position in [0, 1] on a continuous axis, the index of a level on any other,
NaN where the axis does not exist for this point. Its features are the columns that a kernel measures distances in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
_INACTIVE = 0.5
_STEP = 0.15  # standard deviation of a move along a continuous axis


@dataclass(frozen=True)
class Condition:
    """An axis exists where another one has one of some levels.

    Args:
        axis: Index of the other axis.
        levels: Its levels.
    """

    axis: int
    levels: tuple[int, ...]


@dataclass(frozen=True)
class Axis:
    """One dimension of a search space.

    Args:
        positions: Where its levels lie, ascending within [0, 1]; None for a continuous axis.
        is_ordered: Whether neighbouring levels are alike; otherwise all levels are equally far apart.
        conditions: The axis exists where all of these hold.
    """

    positions: tuple[float, ...] | None = None
    is_ordered: bool = True
    conditions: tuple[Condition, ...] = ()

    def features(self, values: Array) -> Array:
        """(n, columns) of (n,) values: one column, or one for each unordered level."""
        if self.positions is None:
            columns = values[:, None]
        elif self.is_ordered:
            columns = np.asarray(self.positions)[np.nan_to_num(values).astype(int)][:, None]
        else:  # two different levels are at distance 1
            columns = (values[:, None] == np.arange(len(self.positions))) / np.sqrt(2.0)
        return np.where(np.isnan(values)[:, None], _INACTIVE if self.is_ordered else 0.0, columns)

    def random(self, count: int, random: np.random.Generator) -> Array:
        """(count,) values, all equally likely."""
        if self.positions is None:
            return random.random(count)
        return random.integers(len(self.positions), size=count).astype(float)

    def spread(self, shares: Array) -> Array:
        """(n,) values at these shares, in [0, 1), of the axis."""
        return shares if self.positions is None else np.floor(shares * len(self.positions))

    def moved(self, values: Array, random: np.random.Generator) -> Array:
        """(n,) values nearby: the next level, another level if they have no order, a small step if continuous."""
        if self.positions is None:
            return np.clip(values + random.normal(scale=_STEP * random.random(len(values)), size=len(values)), 0, 1)
        count = len(self.positions)
        if not self.is_ordered:
            return np.asarray((values + random.integers(1, max(2, count), size=len(values))) % count)
        steps = random.choice([-2, -1, 1, 2], p=[0.15, 0.35, 0.35, 0.15], size=len(values))
        return np.asarray(np.clip(values + steps, 0, count - 1))


@dataclass(frozen=True)
class Shear:
    """Measure one axis from a line that runs along another, so that a ridge becomes parallel to the axes.

    Args:
        axis: Index of the axis that is measured anew.
        along: Index of the other.
        slope: How far the line rises, in units of `axis`, over the whole of `along`.
    """

    axis: int
    along: int
    slope: float


class Space:
    """Axes together.

    Args:
        axes: Parents before children.
        shear: A ridge to straighten; both of its axes are ordered.
    """

    def __init__(self, axes: Sequence[Axis], shear: Shear | None = None) -> None:
        self.axes = tuple(axes)
        self._shear = shear
        widths = [1 if axis.is_ordered else len(axis.positions or ()) for axis in axes]
        self.groups = np.repeat(np.arange(len(axes)), widths)
        """(columns,) the axis of each feature."""

    def features(self, points: Array) -> Array:
        """(n, columns) features of (n, axes) points."""
        columns = [axis.features(points[:, index]) for index, axis in enumerate(self.axes)]
        if self._shear is not None:
            columns[self._shear.axis] = columns[self._shear.axis] - self._shear.slope * columns[self._shear.along]
        return np.hstack(columns)

    def activate(self, points: Array) -> Array:
        """The points with NaN where an axis does not exist, and any value gone where it does."""
        points = points.copy()
        for index, axis in enumerate(self.axes):
            for condition in axis.conditions:
                holds = np.isin(points[:, condition.axis], condition.levels)
                points[~holds, index] = np.nan
        return points

    def random(self, count: int, random: np.random.Generator) -> Array:
        """(count, axes) points, all equally likely."""
        return self.activate(np.column_stack([axis.random(count, random) for axis in self.axes]))

    def spread(self, shares: Array) -> Array:
        """(n, axes) points at these (n, axes) shares of the axes."""
        return self.activate(np.column_stack([axis.spread(shares[:, i]) for i, axis in enumerate(self.axes)]))

    def moved(self, points: Array, random: np.random.Generator) -> Array:
        """(n, axes) points that differ from these along one axis or two."""
        count, width = points.shape
        changed = random.random((count, width)) < 1.0 / width
        changed[np.arange(count), random.integers(width, size=count)] = True
        fresh = np.column_stack([axis.random(count, random) for axis in self.axes])
        full = np.where(np.isnan(points), fresh, points)
        moved = np.column_stack([axis.moved(full[:, i], random) for i, axis in enumerate(self.axes)])
        return self.activate(np.where(changed, moved, full))
