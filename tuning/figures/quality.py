"""Quality by batch size: each seed's score, and the mean with its standard error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tuning.figures.canvas import BLUE, GREY, INK, VERMILION, batch_axis, legend

_ASIDE = 1.13  # so that the mean does not hide the seeds


def draw(
    axes: Any,
    scores: Mapping[int, Sequence[float]],
    means: Mapping[int, tuple[float, float | None]],
    *,
    objective: str,
    chosen: int | None = None,
) -> None:
    """Draw the scores of every batch size at its best setting.

    Args:
        axes: Of matplotlib.
        scores: Final scores by batch size, one per seed.
        means: Mean and its standard error (None if unknown) by batch size.
        objective: Name of the score.
        chosen: The recommended batch size.
    """
    points = [(size * _ASIDE, score) for size, found in scores.items() for score in found]
    if points:
        axes.plot(*zip(*points, strict=True), "o", color=GREY, markerfacecolor="none", markersize=4, label="one seed")
    for size, (mean, error) in sorted(means.items()):
        colour = VERMILION if size == chosen else BLUE
        axes.errorbar(
            [size],
            [mean],
            yerr=None if error is None else [error],
            fmt="D" if size == chosen else "s",
            color=colour,
            capsize=3,
            markersize=6 if size == chosen else 4.5,
            label=_label(size == chosen, error is not None, axes),
        )
    if chosen is not None and chosen in means:
        axes.axhline(means[chosen][0], color=INK, alpha=0.25, linewidth=0.8, linestyle=":")
    axes.set_ylabel(objective)
    batch_axis(axes, {*scores, *means})
    legend(axes)


def _label(is_chosen: bool, has_error: bool, axes: Any) -> str | None:
    """Once for each kind of mark."""
    name = ("recommended" if is_chosen else "mean") + (" ± standard error" if has_error else "")
    return None if name in axes.get_legend_handles_labels()[1] else name
