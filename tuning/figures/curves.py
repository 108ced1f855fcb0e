"""Learning curves by examples seen: a line per batch size, with the range of its seeds."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from tuning.figures.canvas import examples_axis, legend, steps

_MOST_POINTS = 120  # of one line: more cannot be told apart at this width

Curve = tuple[Sequence[float], Sequence[float]]


def draw(axes: Any, curves: Mapping[int, Sequence[Curve]], *, objective: str) -> None:
    """Draw the score along training.

    Args:
        axes: Of matplotlib.
        curves: By batch size, one per seed: examples seen, and the score at each.
        objective: Name of the score.
    """
    sizes = sorted(curves)
    for size, colour in zip(sizes, steps(len(sizes)), strict=True):
        seen, values = _together(curves[size])
        axes.plot(seen, [statistics.fmean(found) for found in values], color=colour, label=str(size))
        if len(curves[size]) > 1:
            lows, highs = [min(found) for found in values], [max(found) for found in values]
            axes.fill_between(seen, lows, highs, color=colour, alpha=0.15, linewidth=0)
    axes.set_ylabel(objective)
    examples_axis(axes)
    axes.margins(x=0.02)
    legend(axes, "batch size")


def _together(curves: Sequence[Curve]) -> tuple[list[float], list[list[float]]]:
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
