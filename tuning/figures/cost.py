"""Cost by batch size: time (or examples) to the target with the fitted curve and its flat zone, or cost of a budget."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tuning.figures.canvas import BLUE, GREEN, GREY, INK, VERMILION, batch_axis, legend, log_axis

Curve = Sequence[tuple[float, float]]


def draw(
    axes: Any,
    costs: Mapping[int, float],
    *,
    unit: str,
    by_seed: Mapping[int, Sequence[float]] | None = None,
    missed: Mapping[int, Sequence[float]] | None = None,
    log_errors: Mapping[int, float] | None = None,
    chosen: int | None = None,
    fitted: Curve = (),
    flat_zone: tuple[float, float] | None = None,
) -> None:
    """Draw what training with each batch size costs.

    Args:
        axes: Of matplotlib.
        costs: The cost of each batch size, positive.
        unit: What it is, with its unit: the label of the axis.
        by_seed: The same of single trainings.
        missed: What the trainings that did not reach the target had spent: their cost is larger.
        log_errors: Standard error of ln(cost): costs spread by factors, not by differences.
        chosen: The recommended batch size.
        fitted: Points of the fitted curve.
        flat_zone: Ends of the batch sizes that cost hardly more than the least.
    """
    by_seed, missed = by_seed or {}, missed or {}
    if flat_zone is not None:
        axes.axvspan(*flat_zone, color=GREEN, alpha=0.15, linewidth=0, label="flat zone (within 5 %)")
    if fitted:
        axes.plot(*zip(*fitted, strict=True), "-", color=INK, alpha=0.6, linewidth=1.1, label="fitted")
    for found, mark, name in ((by_seed, "o", "one seed"), (missed, "^", "target not reached: more")):
        points = [(size, value) for size, values in found.items() for value in values]
        if points:
            axes.plot(*zip(*points, strict=True), mark, color=GREY, markerfacecolor="none", markersize=4, label=name)
    for size, cost in sorted(costs.items()):
        _draw_mean(axes, size, cost, (log_errors or {}).get(size), is_chosen=size == chosen)
    axes.set_ylabel(unit)
    log_axis(axes)
    batch_axis(axes, {*costs, *by_seed, *missed})
    legend(axes)


def _draw_mean(axes: Any, size: int, cost: float, log_error: float | None, *, is_chosen: bool) -> None:
    name = ("recommended" if is_chosen else "mean") + ("" if log_error is None else " ± standard error")
    is_new = name not in axes.get_legend_handles_labels()[1]
    axes.errorbar(
        [size],
        [cost],
        yerr=None if log_error is None else [[-cost * math.expm1(-log_error)], [cost * math.expm1(log_error)]],
        fmt="D" if is_chosen else "s",
        color=VERMILION if is_chosen else BLUE,
        markersize=6 if is_chosen else 4.5,
        capsize=3,
        label=name if is_new else None,
    )
