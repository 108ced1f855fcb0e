"""The figure of what a batch size trades off: efficiency, stability and generalisation, a panel each."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from statistics import median
from typing import Any

from tuning.show.canvas import (
    BLUE,
    GREEN,
    GREY,
    INK,
    VERMILION,
    Drawing,
    Section,
    batch_axis,
    left_out,
    legend,
    log_axis,
)
from tuning.show.evidence import Analysis, Evidence
from tuning.stats.behaviour import SizeBehaviour, Trained, trained
from tuning.stats.reasons import listing, number

_TITLE = "Efficiency, stability, generalisation"
_ASIDE = 1.13  # so that the median does not hide the seeds
_BEFORE = 1.2
_LEAST_PERCENT = 0.01  # what is less lies on the axis

Points = Mapping[int, Sequence[float]]
"""Values by batch size, one per seed."""


def behaviour_section(evidence: Evidence, analysis: Analysis) -> Section:
    """Examples per second, update noise and generalisation gap by batch size, seeds as points."""
    sizes = trained(analysis.arms, evidence.objective)
    noises = _each(sizes, "update_noise", 100.0)
    gaps = _each(sizes, "generalisation_gap")
    if not noises and not gaps:
        return left_out(_TITLE, "No training logged its training loss beside a validation loss, or over eight epochs.")
    chosen = evidence.answer.recommendation.batch_size
    panels: list[tuple[str, Drawing]] = []
    if rates := _rates(analysis, sizes):
        panels.append(("Efficiency", partial(draw_efficiency, points=rates, chosen=chosen)))
    if noises:
        diverged = [size for size, made in sizes.items() if made.diverged]
        panels.append(("Stability", partial(draw_stability, points=noises, diverged=diverged, chosen=chosen)))
    rows = evidence.answer.recommendation.behaviour.sizes
    if gaps:
        equal = {row.batch_size: row.gap_at_equal_loss for row in rows if row.gap_at_equal_loss is not None}
        panels.append(("Generalisation", partial(draw_generalisation, points=gaps, at_equal_loss=equal, chosen=chosen)))
    return Section(_TITLE, None, " ".join(_told(evidence, rows)), tuple(panels))


def _each(sizes: Mapping[int, Trained], name: str, factor: float = 1.0) -> dict[int, list[float]]:
    """Return one of the facts by batch size, a value for each seed that knows it."""
    known = {
        size: [factor * value for facts in made.facts.values() if (value := getattr(facts, name)) is not None]
        for size, made in sizes.items()
    }
    return {size: values for size, values in known.items() if values}


def _rates(analysis: Analysis, sizes: Collection[int]) -> dict[int, list[float]]:
    """Return examples per second by batch size: each training's own, else what the answer judged by."""
    judged = analysis.close.costs.examples_per_second
    found = {}
    for arm in analysis.arms:
        own = [trial.examples_per_second for trial in arm.trials if trial.scored and trial.examples_per_second]
        if arm.batch_size in sizes and (own or arm.batch_size in judged):
            found[arm.batch_size] = own or [judged[arm.batch_size]]
    return found


def _told(evidence: Evidence, rows: Sequence[SizeBehaviour]) -> list[str]:
    told = ["Each batch size at its best setting: its seeds, and their median."]
    level = evidence.answer.recommendation.behaviour.equal_loss
    if level is not None:
        told.append(f"Triangles are gaps at equal training loss, {number(level)}.")
    by_kinds: dict[str, list[int]] = defaultdict(list)
    for row in rows:
        if row.diagnoses:
            by_kinds[", ".join(found.kind for found in row.diagnoses)].append(row.batch_size)
    if by_kinds:
        named = "; ".join(f"{listing(found)}: {kinds}" for kinds, found in by_kinds.items())
        told.append(f"How most trainings went, by batch size: {named}.")
    return told


def draw_efficiency(axes: Any, *, points: Points, chosen: int | None = None) -> None:
    """Draw examples per second.

    Args:
        axes: The matplotlib axes.
        points: Examples per second.
        chosen: The recommended batch size.
    """
    _draw_seeds(axes, points, chosen)
    axes.set_ylabel("examples per second")
    log_axis(axes)
    batch_axis(axes, points)
    legend(axes)


def draw_stability(axes: Any, *, points: Points, diverged: Collection[int] = (), chosen: int | None = None) -> None:
    """Draw how much the training loss varies from epoch to epoch.

    Args:
        axes: The matplotlib axes.
        points: Percent of the loss.
        diverged: Batch sizes of which a training diverged.
        chosen: The recommended batch size.
    """
    _draw_seeds(axes, {size: [max(v, _LEAST_PERCENT) for v in values] for size, values in points.items()}, chosen)
    if diverged:
        place = {"transform": axes.get_xaxis_transform(), "clip_on": False}
        axes.plot(list(diverged), [0.97] * len(diverged), "x", color=VERMILION, label="one diverged", **place)
    axes.set_ylabel("update noise (% of the loss)")
    log_axis(axes)
    batch_axis(axes, {*points, *diverged})
    legend(axes)


def draw_generalisation(
    axes: Any, *, points: Points, at_equal_loss: Mapping[int, float], chosen: int | None = None
) -> None:
    """Draw validation minus training loss.

    Args:
        axes: The matplotlib axes.
        points: At the end of training.
        at_equal_loss: At equal training loss, by batch size.
        chosen: The recommended batch size.
    """
    axes.axhline(0, color=INK, alpha=0.25, linewidth=0.8, linestyle=":")
    _draw_seeds(axes, points, chosen)
    if at_equal_loss:
        found = [(size / _BEFORE, gap) for size, gap in at_equal_loss.items()]
        axes.plot(*zip(*found, strict=True), "^", color=GREEN, label="at equal training loss")
    axes.set_ylabel("validation minus training loss")
    batch_axis(axes, points)
    legend(axes)


def _draw_seeds(axes: Any, points: Points, chosen: int | None) -> None:
    """Draw every seed, and the median of each batch size; that of the recommended one stands out."""
    seeds = [(size * _ASIDE, value) for size, values in points.items() for value in values if math.isfinite(value)]
    axes.plot(*zip(*seeds, strict=True), "o", color=GREY, markerfacecolor="none", markersize=4, label="one seed")
    others = [(size, median(values)) for size, values in points.items() if size != chosen]
    if others:
        axes.plot(*zip(*others, strict=True), "s", color=BLUE, label="median")
    if chosen is not None and chosen in points:
        axes.plot([chosen], [median(points[chosen])], "D", color=VERMILION, markersize=6, label="recommended")
