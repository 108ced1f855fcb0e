"""Section: one figure of a report with what it says, or why it is left out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tuning.figures.canvas import image_tag, sketch
from tuning.figures.fragments import heading, paragraphs


@dataclass(frozen=True)
class Section:
    """One figure.

    Args:
        title: What it shows.
        draw: Draws it on axes of matplotlib; None where there is nothing to draw.
        told: What to see in it, and where its numbers come from; without a figure, why there is none.
    """

    title: str
    draw: Callable[[Any], None] | None
    told: str

    def _repr_html_(self) -> str:
        """The figure with its words, for notebooks."""
        picture = "" if self.draw is None else image_tag(sketch(self.draw), self.title)
        return heading(self.title) + picture + paragraphs([self.told])


def left_out(title: str, why: str) -> Section:
    """A figure for which there is no data.

    Args:
        title: What it would show.
        why: Why it does not; one sentence.
    """
    return Section(title, None, why)
