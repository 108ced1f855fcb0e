"""StartDesign: the first trials, few points that cover a space, the batch sizes from end to end."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.stats import qmc

from tuning.proposals.axes import Array, Mask, Space

_LEAST = 3  # the middle, the largest and the smallest batch size


class StartDesign:
    """The middle of everything, then a Latin hypercube over the largest, the smallest and the middle batch size.

    A batch size that something else speaks for, such as a forecast, comes second, all else in the middle.

    Args:
        space: What may be tried.
        batch_axis: Which axis is the batch size.
        budget: How many trials there will be; the middle and the hypercube take a third of them at most, and one more
            than there are axes, but three at least.
        seed: Of the hypercube.
        favourite: Level of a batch size to try early; None for none.
    """

    def __init__(self, space: Space, batch_axis: int, *, budget: int, seed: int, favourite: int | None = None) -> None:
        self._batch_axis = batch_axis
        count = max(_LEAST, min(len(space.axes) + 1, budget // 3))
        hypercube = qmc.LatinHypercube(len(space.axes), rng=np.random.default_rng(seed)).random(count - 1)
        shares = np.vstack([np.full(len(space.axes), 0.5), hypercube])
        shares[1:, batch_axis] = np.resize([np.nextafter(1.0, 0.0), 0.0, 0.5], count - 1)
        points = space.spread(shares)
        if favourite is not None and points[0, batch_axis] != favourite:
            points = np.insert(points, 1, points[0], axis=0)
            points[1, batch_axis] = favourite
        self._points = points

    def __len__(self) -> int:
        return len(self._points)

    def point(self, index: int, fits: Callable[[Array], Mask]) -> Array | None:
        """(axes,) the point of this rank, with the largest batch size up to its own that fits; None if none does."""
        point = self._points[index]
        sizes = np.arange(point[self._batch_axis], -1.0, -1.0)
        points = np.tile(point, (len(sizes), 1))
        points[:, self._batch_axis] = sizes
        allowed = np.flatnonzero(fits(points))
        return points[allowed[0]] if len(allowed) else None
