"""Score against cost: a point per batch size, and the line of those that no other one beats in everything."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from tuning.figures.canvas import BLUE, GREY, VERMILION, legend, log_axis


def draw(
    axes: Any,
    points: Mapping[int, tuple[float, float, float | None]],
    efficient: Collection[int],
    *,
    objective: str,
    unit: str,
    chosen: int | None = None,
) -> None:
    """Draw what a better score costs.

    Args:
        axes: Of matplotlib.
        points: Cost, mean score and its standard error (None if unknown) by batch size.
        efficient: The batch sizes of the Pareto set.
        objective: Name of the score.
        unit: What the cost is, with its unit.
        chosen: The recommended batch size.
    """
    front = sorted(points[size][:2] for size in efficient)
    axes.plot(*zip(*front, strict=True), "-", color=BLUE, alpha=0.5, label="Pareto set")
    for size, (cost, mean, error) in points.items():
        colour = VERMILION if size == chosen else BLUE if size in efficient else GREY
        axes.errorbar(
            [cost],
            [mean],
            yerr=None if error is None else [error],
            fmt="D" if size == chosen else "o",
            color=colour,
            capsize=2,
            label="recommended" if size == chosen else None,
        )
        axes.annotate(str(size), (cost, mean), xytext=(5, 4), textcoords="offset points", fontsize=7.5)
    axes.set(xlabel=unit, ylabel=objective)
    axes.margins(x=0.1)
    log_axis(axes, "x")
    legend(axes)
