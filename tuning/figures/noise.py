"""Gradient noise scale by training progress."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tuning.figures.canvas import GREY, PURPLE, examples_axis, legend, log_axis, steps

Point = tuple[float, float | None, float | None, float | None]


def draw(axes: Any, series: Mapping[str, Sequence[Point]], *, critical: float | None = None) -> None:
    """Draw the noise scale in examples.

    Args:
        axes: Of matplotlib.
        series: By name, points of: examples seen, value, lower and upper end of its interval. Without a value, the
            lower end alone is known.
        critical: The critical batch size found otherwise, to compare; None if unknown.
    """
    colours = [PURPLE] if len(series) == 1 else steps(len(series))
    bounds = [(at, low) for points in series.values() for at, value, low, _ in points if value is None and low]
    if bounds:
        axes.plot(*zip(*bounds, strict=True), "^", color=GREY, label="at least")
    for (name, points), colour in zip(series.items(), colours, strict=True):
        known = [(at, value, low, high) for at, value, low, high in points if value is not None]
        if not known:
            continue
        below = [value - (value if low is None else low) for _, value, low, _ in known]
        above = [(value if high is None else high) - value for _, value, _, high in known]
        at, values = [point[0] for point in known], [point[1] for point in known]
        if any(below) or any(above):
            axes.errorbar(at, values, yerr=(below, above), fmt="o-", color=colour, capsize=3, label=name)
        else:
            axes.plot(at, values, "o-", color=colour, label=name)
    if critical is not None:
        axes.axhline(critical, color=GREY, linestyle="--", label=f"critical batch size {critical:,.0f}")
    axes.set_ylabel("noise scale (examples)")
    examples_axis(axes)
    log_axis(axes)
    legend(axes)
