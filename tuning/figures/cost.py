"""Cost by batch size: time (or examples) to the target with the fitted curve and its flat zone, or cost of a budget."""

from __future__ import annotations

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
    rest = {size: cost for size, cost in costs.items() if size != chosen}
    if rest:
        axes.plot(list(rest), list(rest.values()), "s", color=BLUE, label="mean" if by_seed else None)
    if chosen is not None and chosen in costs:
        axes.plot([chosen], [costs[chosen]], "D", color=VERMILION, markersize=6, label="recommended")
    axes.set_ylabel(unit)
    log_axis(axes)
    batch_axis(axes, {*costs, *by_seed, *missed})
    legend(axes)
