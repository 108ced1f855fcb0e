"""Quality by batch size: each seed's score, and the mean with its standard error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tuning.figures.canvas import BLUE, GREY, INK, VERMILION, batch_axis, legend

_CROWDED = 0.25
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
    _zoom(axes, [found for found in means.values() if found[1] is not None])
    for size, (mean, _) in means.items():
        _point_outside(axes, size, mean)
    legend(axes)


def _zoom(axes: Any, compared: Sequence[tuple[float, float | None]]) -> None:
    """Where a batch size that was not compared lies far from those that were, show these: they are what is decided."""
    if len(compared) < 2:
        return
    low = min(mean - 3 * (error or 0.0) for mean, error in compared)
    high = max(mean + 3 * (error or 0.0) for mean, error in compared)
    bottom, top = axes.get_ylim()
    if high - low < _CROWDED * (top - bottom):
        margin = 0.3 * (high - low)
        axes.set_ylim(max(bottom, low - margin), min(top, high + margin))


def _point_outside(axes: Any, size: int, mean: float) -> None:
    """Say where a mean is that lies beyond the axes."""
    bottom, top = axes.get_ylim()
    if bottom <= mean <= top:
        return
    below = mean < bottom
    place = (size, 0.02 if below else 0.98)
    told = f"{mean:.3g} ▼" if below else f"{mean:.3g} ▲"
    where = {"va": "bottom" if below else "top", "ha": "center", "rotation": 90, "fontsize": 8, "color": BLUE}
    axes.annotate(told, place, xycoords=("data", "axes fraction"), **where)


def _label(is_chosen: bool, has_error: bool, axes: Any) -> str | None:
    """Once for each kind of mark."""
    name = ("recommended" if is_chosen else "mean") + (" ± standard error" if has_error else "")
    return None if name in axes.get_legend_handles_labels()[1] else name
