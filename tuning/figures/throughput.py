"""Throughput by batch size, a line per training loop, each with its knee."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tuning.figures.canvas import BLUE, GREEN, PURPLE, VERMILION, batch_axis, legend, log_axis

_STYLES = ((VERMILION, "s"), (BLUE, "o"), (GREEN, "^"), (PURPLE, "v"))


def draw(axes: Any, rates: Mapping[str, Mapping[int, float]], knees: Mapping[str, int | None]) -> None:
    """Draw examples per second.

    Args:
        axes: Of matplotlib.
        rates: Examples per second by batch size, by the name of what trained.
        knees: The batch size from which a larger one hardly pays, by the same names; None or absent if unknown.
    """
    for (name, by_size), (colour, mark) in zip(rates.items(), _STYLES, strict=False):
        axes.plot(*zip(*sorted(by_size.items()), strict=True), f"{mark}-", color=colour, label=name)
        if (knee := knees.get(name)) is not None:
            axes.axvline(knee, color=colour, linestyle=":", label=f"knee at {knee}")
    axes.set_ylabel("examples per second")
    batch_axis(axes, {size for by_size in rates.values() for size in by_size})
    log_axis(axes)
    legend(axes)
