"""Figures of scores: by batch size, by examples seen, by learning rate, and against cost."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from tuning.show.canvas import BLUE, GREY, INK, VERMILION, batch_axis, examples_axis, legend, log_axis, steps

_CROWDED = 0.25
_ASIDE = 1.13  # so that the mean does not hide the seeds


def draw_quality(
    axes: Any,
    scores: Mapping[int, Sequence[float]],
    means: Mapping[int, tuple[float, float | None]],
    *,
    objective: str,
    chosen: int | None = None,
) -> None:
    """Draw the scores of every batch size at its best setting.

    Args:
        axes: The matplotlib axes.
        scores: Final scores by batch size, one per seed.
        means: Mean and its standard error (None if unknown) by batch size.
        objective: The name of the score.
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
    if 0 < high - low < _CROWDED * (top - bottom):
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


_MOST_POINTS = 120  # of one line: more cannot be told apart at this width

ScoreCurve = tuple[Sequence[float], Sequence[float]]
"""Examples seen, and the score at each."""


def draw_curves(axes: Any, curves: Mapping[int, Sequence[ScoreCurve]], *, objective: str) -> None:
    """Draw the score along training.

    Args:
        axes: The matplotlib axes.
        curves: The curves by batch size, one per seed: examples seen, and the score at each.
        objective: The name of the score.
    """
    sizes = sorted(curves)
    for size, colour in zip(sizes, steps(len(sizes)), strict=True):
        seen, values = _together(curves[size])
        axes.plot(seen, [statistics.fmean(found) for found in values], color=colour, label=str(size))
        if len(curves[size]) > 1:
            axes.fill_between(seen, [*map(min, values)], [*map(max, values)], color=colour, alpha=0.15, linewidth=0)
    axes.set_ylabel(objective)
    examples_axis(axes)
    axes.margins(x=0.02)
    legend(axes, "batch size")


def _together(curves: Sequence[ScoreCurve]) -> tuple[list[float], list[list[float]]]:
    """The evaluations that most seeds have, and their scores there; thinned, the last one kept."""
    found: dict[float, list[float]] = defaultdict(list)
    for seen, values in curves:
        for at, value in zip(seen, values, strict=True):
            found[at].append(value)
    most = max(len(values) for values in found.values())
    shared = sorted(at for at, values in found.items() if len(values) == most)
    stride = -(-len(shared) // _MOST_POINTS)
    kept = shared[::-1][::stride][::-1]
    return kept, [found[at] for at in kept]


_LEAST_GAP = 0.12  # the colour bar takes its share of the width


def draw_rates(
    axes: Any,
    scores: Mapping[tuple[int, float], float],
    best: Mapping[int, float],
    *,
    objective: str,
    failed: Mapping[tuple[int, float], str] | None = None,
) -> None:
    """Draw a disc for each setting, its colour the mean score.

    Args:
        axes: The matplotlib axes.
        scores: The mean score by batch size and learning rate.
        best: The learning rate that each batch size is judged at.
        objective: The name of the score.
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


def draw_trade_off(
    axes: Any,
    points: Mapping[int, tuple[float, float, float | None]],
    efficient: Collection[int],
    *,
    objective: str,
    unit: str,
    chosen: int | None = None,
) -> None:
    """Draw what a better score costs.

    Args:
        axes: The matplotlib axes.
        points: Cost, mean score and its standard error (None if unknown) by batch size.
        efficient: The batch sizes of the Pareto set.
        objective: The name of the score.
        unit: The name of the cost with its unit.
        chosen: The recommended batch size.
    """
    front = sorted(points[size][:2] for size in efficient)
    axes.plot(*zip(*front, strict=True), "-", color=BLUE, alpha=0.5, label="Pareto set")
    for size, (cost, mean, error) in points.items():
        colour = VERMILION if size == chosen else BLUE if size in efficient else GREY
        axes.errorbar(
            [cost],
            [mean],
            yerr=None if error is None else [error],
            fmt="D" if size == chosen else "o",
            color=colour,
            capsize=2,
            label="recommended" if size == chosen else None,
        )
        axes.annotate(str(size), (cost, mean), xytext=(5, 4), textcoords="offset points", fontsize=7.5)
    axes.set(xlabel=unit, ylabel=objective)
    axes.margins(x=0.1)
    log_axis(axes, "x")
    legend(axes)
