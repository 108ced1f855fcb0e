"""The trade-off between score, time, examples and memory: which batch sizes no other one beats in everything."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)


def pareto_front(points: Mapping[Key, Sequence[float | None]]) -> list[Key]:
    """Return the keys, in the given order, of the points that no other point dominates; smaller is better throughout.

    One point dominates another if it is nowhere larger and somewhere smaller. Of equal points none dominates. A
    column in which any point has no finite number is left out, because domination over different columns is not
    transitive; without any usable column every point is on the front.

    Args:
        points: Numbers to minimise, one sequence per key, all of one length; negate what is to be maximised.

    Raises:
        ValueError: If the sequences differ in length.
    """
    rows = list(points.values())
    if len({len(row) for row in rows}) > 1:
        raise ValueError(f"Points must have equally many numbers; got lengths {sorted({len(row) for row in rows})}.")
    columns = [column for column in zip(*rows, strict=True) if all(v is not None and math.isfinite(v) for v in column)]
    usable = dict(zip(points, zip(*columns, strict=True), strict=True)) if columns else dict.fromkeys(points, ())
    return [key for key, point in usable.items() if not any(_dominates(other, point) for other in usable.values())]


def _dominates(a: Sequence[float], b: Sequence[float]) -> bool:
    return tuple(a) != tuple(b) and all(x <= y for x, y in zip(a, b, strict=True))
