"""Figures of cost: seconds to the target, and updates to it, by batch size."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tuning.show.canvas import BLUE, GREEN, GREY, INK, PURPLE, VERMILION, batch_axis, legend, log_axis

FittedCurve = Sequence[tuple[float, float]]
"""Batch size and what the fit says of it."""


def draw_cost(
    axes: Any,
    costs: Mapping[int, float],
    *,
    unit: str,
    by_seed: Mapping[int, Sequence[float]] | None = None,
    missed: Mapping[int, Sequence[float]] | None = None,
    log_errors: Mapping[int, float] | None = None,
    chosen: int | None = None,
    fitted: FittedCurve = (),
    flat_zone: tuple[float, float] | None = None,
) -> None:
    """Draw what training with each batch size costs.

    Args:
        axes: The matplotlib axes.
        costs: The cost of each batch size, positive.
        unit: The name of the cost with its unit: the label of the axis.
        by_seed: The cost of single trainings.
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


def draw_updates(
    axes: Any,
    updates: Mapping[int, Sequence[float]],
    *,
    fitted: FittedCurve = (),
    smallest: float | None = None,
    critical: float | None = None,
    interval: tuple[float | None, float | None] = (None, None),
) -> None:
    """Draw how many updates each batch size needed.

    Args:
        axes: The matplotlib axes.
        updates: The updates to the target, by batch size, one per seed.
        fitted: Points of the law S(B) = S_min*(1 + B_crit/B).
        smallest: S_min; drawn with `critical` only.
        critical: B_crit; None where it is not identified.
        interval: The 90 % interval of B_crit; None at an open end.
    """
    points = [(size, count) for size, counts in updates.items() for count in counts]
    axes.plot(*zip(*points, strict=True), "o", color=BLUE, markerfacecolor="none", label="one seed")
    if fitted:
        axes.plot(*zip(*fitted, strict=True), "-", color=INK, alpha=0.6, label="fitted law")
        size, count = fitted[0]
        line = [(at, count * size / at) for at, _ in fitted]
        axes.plot(*zip(*line, strict=True), ":", color=GREY, label="half the updates at twice the size")
    if critical is not None:
        low, high = interval
        if low is not None and high is not None:
            axes.axvspan(low, high, color=PURPLE, alpha=0.12, linewidth=0)
        axes.axvline(critical, color=PURPLE, linestyle="--", label=f"critical batch size {critical:,.0f}")
        if smallest is not None:
            axes.axhline(smallest, color=GREY, linewidth=0.8)
    axes.set_ylabel("updates to the target")
    batch_axis(axes, updates)
    log_axis(axes)
    legend(axes)
