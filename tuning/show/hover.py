"""What the points of a figure say when somebody points at them on a page."""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.collections import PathCollection
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

_POINTS_AN_INCH = 72
_RADIUS = 5
_APART = 3  # nobody can point at one of two that are nearer
_EXAMPLES = "training examples seen"


@dataclass(frozen=True)
class _Point:
    x: float
    y: float
    told: str
    is_mean: bool = False
    size: int | None = None


def hover_marks(figure: Figure) -> str:
    """Return a circle over every point of a figure, as SVG, with what it says in `data-told`.

    Each has the class `point`, which the page makes invisible. That of a batch size's mean has the class `mean`, too,
    and the batch size in `data-size`.

    Args:
        figure: It must have been written already, since only then its axes have their places.
    """
    height = figure.get_size_inches()[1] * _POINTS_AN_INCH
    found = [point for axes in figure.axes for point in _points(axes, figure.dpi)]
    apart = {(round(point.x / _APART), round(point.y / _APART), point.is_mean): point for point in found}
    return "".join(_circle(point, height) for point in apart.values())


def _circle(point: _Point, height: float) -> str:
    mean = f' data-size="{point.size}"' if point.is_mean and point.size is not None else ""
    kind = "point mean" if point.is_mean else "point"
    place = f'cx="{point.x:.0f}" cy="{height - point.y:.0f}" r="{_RADIUS}"'
    return f'<circle class="{kind}" {place}{mean} data-told="{html.escape(point.told, quote=True)}"/>'


def _points(axes: Any, dpi: float) -> Iterator[_Point]:
    """Return the points that lie within the axes: means last, so that they lie on top."""
    means = [found for found in axes.containers if isinstance(found, ErrorbarContainer)]
    drawn = {id(found[0]) for found in means}
    for collection in axes.collections:
        if isinstance(collection, PathCollection) and collection.colorbar is not None:
            name = collection.colorbar.ax.get_ylabel()
            values = [f"{name} {_number(float(value))}" for value in np.asarray(collection.get_array())]
            yield from _placed(axes, dpi, collection.get_offsets(), values)
    for line in axes.lines:
        has_marks = line.get_marker() not in ("None", "", None) or axes.get_xlabel() == _EXAMPLES
        if has_marks and id(line) not in drawn and line.get_transform() == axes.transData:
            yield from _placed(axes, dpi, line.get_xydata(), [_name(line)] * len(line.get_xydata()))
    for found in means:
        if found[0] is not None:
            yield from _placed(axes, dpi, found[0].get_xydata(), _ranges(found), is_mean=True)


def _placed(axes: Any, dpi: float, places: Any, names: list[str], *, is_mean: bool = False) -> Iterator[_Point]:
    sizes = _batch_sizes(axes)
    for (x, y), name in zip(places, names, strict=True):
        across, up = axes.transData.transform((x, y))
        if not (np.isfinite(across) and np.isfinite(up) and axes.bbox.contains(across, up)):
            continue
        size = _nearest(x, sizes)
        at = f"batch size {size}" if size is not None else f"{_label(axes.get_xlabel())} {_number(x)}"
        told = ", ".join(filter(None, (at, f"{_label(axes.get_ylabel())} {_number(y)}", name)))
        yield _Point(across * _POINTS_AN_INCH / dpi, up * _POINTS_AN_INCH / dpi, told, is_mean, size)


def _batch_sizes(axes: Any) -> list[int]:
    """Return those of an axis that has a tick for each: seeds stand a little aside of them."""
    locator = axes.xaxis.get_major_locator()
    return [int(size) for size in locator()] if isinstance(locator, FixedLocator) else []


def _nearest(x: float, sizes: list[int]) -> int | None:
    return min(sizes, key=lambda size: abs(np.log(size / x))) if sizes else None


def _ranges(found: ErrorbarContainer) -> list[str]:
    """Return the name of each point with a bar, and the ends of the bar where there is one."""
    label = str(found.get_label() or "").partition(" ±")[0]
    name = "" if label.startswith("_") else label
    if not found[2]:
        return [name] * len(found[0].get_xydata())
    ends = [(low, high) for (_, low), (_, high) in found[2][0].get_segments()]
    return [", ".join(filter(None, (f"bar from {_number(low)} to {_number(high)}", name))) for low, high in ends]


def _name(line: Any) -> str:
    name = str(line.get_label())
    return "" if name.startswith("_") else name


def _label(text: str) -> str:
    """Return an axis's label without its unit in brackets, which the figure shows."""
    return text.partition(" (")[0]


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
