"""Figures of what the machine can do: memory, throughput, gradient noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tuning.show.canvas import BLUE, GREEN, GREY, PURPLE, VERMILION, batch_axis, examples_axis, legend, log_axis, steps

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
