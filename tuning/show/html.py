"""Pieces of HTML for notebooks: a table, paragraphs. Everything is escaped; nothing needs a style sheet."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tuning.show.canvas import image_tag, sketch

_CELL = "padding:.2em .7em;text-align:right"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], strong: int | None = None) -> str:
    """A table of numbers as text, whose last column is words.

    Args:
        header: Names of the columns.
        rows: Their cells.
        strong: The row to stress, counted from 0.
    """
    head = _row(header, "th", bold=True)
    body = "".join(_row(cells, "td", bold=i == strong) for i, cells in enumerate(rows))
    return f"<table><thead>{head}</thead><tbody>{body}</tbody></table>"


def paragraphs(texts: Iterable[str]) -> str:
    """A paragraph each."""
    return "".join(f"<p>{html.escape(text)}</p>" for text in texts)


def heading(text: str) -> str:
    """A heading that does not shout in a notebook."""
    return f"<h4>{html.escape(text)}</h4>"


def warnings(texts: Iterable[str]) -> str:
    """A list of what to keep in mind; nothing if there is nothing."""
    items = "".join(f"<li>⚠ {html.escape(text)}</li>" for text in texts)
    return f"<ul>{items}</ul>" if items else ""


def _row(cells: Sequence[str], kind: str, *, bold: bool) -> str:
    weight = ";font-weight:bold" if bold else ""
    styled = [f'<{kind} style="{_CELL}{weight}">{html.escape(cell)}</{kind}>' for cell in cells[:-1]]
    last = _CELL.replace("right", "left")
    return f'<tr>{"".join(styled)}<{kind} style="{last}{weight}">{html.escape(cells[-1])}</{kind}></tr>'


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
