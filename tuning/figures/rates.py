"""The map of batch sizes and learning rates: the mean score of every setting that was tried."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tuning.figures.canvas import INK, VERMILION, batch_axis, legend, log_axis

_LEAST_GAP = 0.12  # the colour bar takes its share of the width


def draw(
    axes: Any,
    scores: Mapping[tuple[int, float], float],
    best: Mapping[int, float],
    *,
    objective: str,
    failed: Mapping[tuple[int, float], str] | None = None,
) -> None:
    """Draw a disc for each setting, its colour the mean score.

    Args:
        axes: Of matplotlib.
        scores: By batch size and learning rate.
        best: The learning rate that each batch size is judged at.
        objective: Name of the score.
        failed: Settings without a score.
    """
    places = list(scores)
    discs = axes.scatter(
        [size for size, _ in places],
        [rate for _, rate in places],
        c=[scores[place] for place in places],
        s=34,
        cmap="cividis",
        edgecolors=INK,
        linewidths=0.4,
    )
    bar = axes.figure.colorbar(discs, ax=axes, label=objective, pad=0.02)
    bar.outline.set_visible(False)
    axes.plot(list(best), list(best.values()), "o", color=VERMILION, markerfacecolor="none", markersize=9, label="best")
    if failed:
        axes.plot(*zip(*failed, strict=True), "x", color=VERMILION, label="no score")
    axes.set_ylabel("learning rate")
    log_axis(axes)
    batch_axis(axes, {size for size, _ in [*places, *(failed or {})]}, least_gap=_LEAST_GAP)
    legend(axes)
