"""Updates to the target by batch size, with the fitted law and the critical batch size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tuning.figures.canvas import BLUE, GREY, INK, PURPLE, batch_axis, legend, log_axis


def draw(
    axes: Any,
    updates: Mapping[int, Sequence[float]],
    *,
    fitted: Sequence[tuple[float, float]] = (),
    smallest: float | None = None,
    critical: float | None = None,
    interval: tuple[float | None, float | None] = (None, None),
) -> None:
    """Draw how many updates each batch size needed.

    Args:
        axes: Of matplotlib.
        updates: To the target, by batch size, one per seed.
        fitted: Points of the law S(B) = S_min*(1 + B_crit/B).
        smallest: S_min; drawn with `critical` only.
        critical: B_crit; None where it is not identified.
        interval: Of B_crit; None at an open end.
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
