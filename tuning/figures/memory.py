"""Peak memory by batch size, with the fitted line and the limit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tuning.figures.canvas import BLUE, VERMILION, legend

_MIB = 2**20


def draw(
    axes: Any,
    peaks: Mapping[int, float],
    *,
    lost: Sequence[int] = (),
    line: Callable[[float], float] | None = None,
    limit_bytes: float | None = None,
) -> None:
    """Draw peaks in MiB over a linear axis of batch sizes, where memory is a line.

    Args:
        axes: Of matplotlib.
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
