"""Figures of cost and of the machine: seconds and updates to the target, throughput, memory, the noise scale."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tuning.show.canvas import (
    BLUE,
    GREEN,
    GREY,
    INK,
    PURPLE,
    VERMILION,
    batch_axis,
    examples_axis,
    legend,
    log_axis,
    steps,
)

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


_MIB = 2**20


def draw_memory(
    axes: Any,
    peaks: Mapping[int, float],
    *,
    lost: Sequence[int] = (),
    line: Callable[[float], float] | None = None,
    limit_bytes: float | None = None,
) -> None:
    """Draw peaks in MiB over a linear axis of batch sizes, where memory is a line.

    Args:
        axes: The matplotlib axes.
        peaks: Bytes by batch size of what fitted.
        lost: Batch sizes that ran out of memory.
        line: Bytes at a batch size.
        limit_bytes: The limit; shown where something was lost, or where it is less than three times the largest peak:
            a limit far above would flatten the line.
    """
    top = max(peaks.values(), default=0.0)
    is_near = limit_bytes is not None and (bool(lost) or limit_bytes < 3 * top)
    if peaks:
        points = [(size, peak / _MIB) for size, peak in sorted(peaks.items())]
        axes.plot(*zip(*points, strict=True), "o", color=BLUE, label="fits")
    if line is not None and peaks:
        ends = (0, max([*peaks, *lost]))
        axes.plot(ends, [line(size) / _MIB for size in ends], "-", color=BLUE, alpha=0.5, label="line")
    if lost:
        height = top if limit_bytes is None else limit_bytes
        axes.plot(lost, [height / _MIB] * len(lost), "x", color=VERMILION, label="does not fit")
    if is_near and limit_bytes is not None:
        axes.axhline(limit_bytes / _MIB, color=VERMILION, linestyle="--", label="limit")
    axes.set(xlabel="batch size (examples per update)", ylabel="peak memory (MiB)")
    axes.relim()
    axes.set_ylim(0, 1.08 * max(axes.dataLim.y1, 1.0))
    legend(axes)


Point = tuple[float, float | None, float | None, float | None]


def draw_noise(axes: Any, series: Mapping[str, Sequence[Point]], *, critical: float | None = None) -> None:
    """Draw the noise scale in examples.

    Args:
        axes: The matplotlib axes.
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


_STYLES = ((VERMILION, "s"), (BLUE, "o"), (GREEN, "^"), (PURPLE, "v"))


def draw_throughput(axes: Any, rates: Mapping[str, Mapping[int, float]], knees: Mapping[str, int | None]) -> None:
    """Draw examples per second.

    Args:
        axes: The matplotlib axes.
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
