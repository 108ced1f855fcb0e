"""What every figure is drawn on, and the way out of it: SVG and PNG, and the pieces of HTML around it.

Matplotlib is imported by what draws, not before: a search loads it while its first trials train.
"""

from __future__ import annotations

import base64
import html
import io
import math
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure


# Okabe and Ito's colours, which people who confuse red and green tell apart; a page may replace each (`inline_svg`).
INK = "#1b1f24"
BLUE = "#0072b2"
VERMILION = "#d55e00"
GREEN = "#009e73"
PURPLE = "#b5578f"
GREY = "#7f8790"
# Viridis from dark to light without its ends, which vanish on one of the two grounds.
STEPS = ("#443983", "#31688e", "#21918c", "#35b779", "#7ac943", "#c8b400")
NAMES = {BLUE: "blue", VERMILION: "vermilion", GREEN: "green", PURPLE: "purple", GREY: "grey"} | {
    colour: f"step{i}" for i, colour in enumerate(STEPS)
}

_SIZE_INCHES = (4.4, 3.0)  # narrow, so that its text can still be read across a phone
_STYLE: Any = {
    "font.size": 9,
    "axes.labelsize": 9,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "text.color": INK,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "lines.markersize": 4.5,
    "svg.fonttype": "none",  # text stays text: small files, the reader's font
    "svg.hashsalt": "batch-size",  # the same numbers give the same file
}
_LETTERS, _MARK_LETTERS = 62, 7  # of a legend's row, and what a mark with its gaps takes of it
_LEAST_GAP = 0.095  # four digits and a space
_LEAST_SPAN = 1.01  # the ends of a logarithmic axis differ by this factor


def sketch(draw: Callable[[Any], None]) -> Figure:
    """A figure with one pair of axes.

    Args:
        draw: Draws on the axes.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
        axes = figure.subplots()
        axes.grid(visible=True, color=INK, alpha=0.12, linewidth=0.6)
        axes.set_axisbelow(True)
        draw(axes)
    return figure


def batch_axis(axes: Any, sizes: Collection[int], *, least_gap: float = _LEAST_GAP) -> None:
    """Make the x axis one of batch sizes: logarithmic, a tick for each, a number wherever there is room.

    Args:
        axes: The matplotlib axes.
        sizes: What is shown.
        least_gap: Between two numbers, as a share of the axis.
    """
    from matplotlib import ticker

    known = sorted(set(sizes))
    axes.set_xscale("log", base=2)
    low, high = math.log2(known[0]), math.log2(known[-1])
    room = max(0.06 * (high - low), 0.3)
    axes.set_xlim(2 ** (low - room), 2 ** (high + room))
    axes.xaxis.set_major_locator(ticker.FixedLocator(known))
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    shown = _with_room([math.log2(size) for size in known], least_gap * (high - low + 2 * room))
    axes.set_xticklabels([str(size) if i in shown else "" for i, size in enumerate(known)])
    axes.set_xlabel("batch size (examples per update)")


def log_axis(axes: Any, which: str = "y") -> None:
    """Make an axis logarithmic, with plain numbers at its ticks; call it when everything is drawn.

    Args:
        axes: The matplotlib axes.
        which: "x" or "y".
    """
    from matplotlib import ticker

    axis = getattr(axes, f"{which}axis")
    getattr(axes, f"set_{which}scale")("log")
    low, high = axis.get_view_interval()
    if high < _LEAST_SPAN * low:  # values equal but for rounding: no ticks would fit between them
        low, high = low / _LEAST_SPAN, high * _LEAST_SPAN
        getattr(axes, f"set_{which}lim")(low, high)
    axis.set_major_locator(
        ticker.MaxNLocator(5) if high < 8 * low else ticker.LogLocator(subs=(1, 2, 5) if high < 300 * low else (1,))
    )
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: _short(value)))
    axis.set_minor_locator(ticker.NullLocator())


def examples_axis(axes: Any) -> None:
    """Make the x axis one of training examples seen."""
    from matplotlib import ticker

    axes.set_xlabel("training examples seen")
    axes.xaxis.set_major_formatter(ticker.EngFormatter(sep=""))


def steps(count: int) -> list[str]:
    """That many colours from dark to light, for what has an order; they repeat where there are too many to tell."""
    if count == 1:
        return [STEPS[1]]
    return [STEPS[round(i * (len(STEPS) - 1) / (count - 1))] for i in range(count)]


def legend(axes: Any, title: str | None = None) -> None:
    """A legend above the axes, where it hides nothing; inside them where a title stands above.

    Args:
        axes: The matplotlib axes.
        title: What the entries are.
    """
    names = axes.get_legend_handles_labels()[1]
    if not names:
        return
    if axes.get_title():
        axes.legend(loc="best", title=title)
        return
    in_a_row = max(1, _LETTERS // (max(map(len, names)) + _MARK_LETTERS))
    rows = math.ceil(len(names) / in_a_row)
    columns = math.ceil(len(names) / rows)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=columns, title=title, columnspacing=1.2)


FORMATS = ("png", "svg")


def as_file(figure: Figure, file_format: str) -> bytes:
    """Return a figure as a file's content.

    Args:
        figure: What to write.
        file_format: "png" or "svg".

    Raises:
        ValueError: If the format is another.
    """
    if file_format not in FORMATS:
        raise ValueError(f"A plot must be written as {' or '.join(FORMATS)}; got {file_format!r}. Rename the file.")
    content = io.BytesIO()
    figure.savefig(content, format=file_format, dpi=110)
    return content.getvalue()


def inline_svg(figure: Figure, label: str) -> str:
    """The figure as an `<svg>` element for a page.

    Its text takes the page's font and colour. Each other colour is `var(--NAME, COLOUR)`, with the names of `NAMES`, so
    that a page can have a palette for the light and one for the dark. Over its points lie `hover_marks`.

    Args:
        figure: What to write.
        label: What it shows, for those who cannot see it.
    """
    import matplotlib

    from tuning.show.hover import hover_marks  # it knows the parts of a figure by matplotlib's types

    text = io.StringIO()
    with matplotlib.rc_context(_STYLE):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)  # one page holds many figures, and an id belongs to one element
    svg = re.sub(r"\s*\n\s*", " ", svg)
    svg = re.sub(r"font-family: [^;\"]*|(font: [\d.]+px )[^;\"]*", _inherit_font, svg)
    svg = svg.replace(INK, "currentColor")
    for colour, name in NAMES.items():
        svg = svg.replace(colour, f"var(--{name}, {colour})")
    svg = svg.replace("</svg>", f"{hover_marks(figure)}</svg>")
    size = re.compile(r'width="[\d.]+pt" height="[\d.]+pt"')
    return size.sub(f'role="img" aria-label="{html.escape(label, quote=True)}"', svg, count=1).strip()


def image_tag(figure: Figure, label: str, *, dpi: int = 90) -> str:
    """The figure as an `<img>` element that holds a PNG: notebooks and the sites that show them keep no SVG.

    Args:
        figure: What to write.
        label: What it shows, for those who cannot see it.
        dpi: Pixels per inch.
    """
    import matplotlib

    content = io.BytesIO()
    with matplotlib.rc_context(_STYLE):
        figure.savefig(content, format="png", dpi=dpi, facecolor="white")
    data = base64.b64encode(content.getvalue()).decode()
    told = html.escape(label, quote=True)
    return f'<img alt="{told}" style="max-width:100%" src="data:image/png;base64,{data}">'


def _short(value: float) -> str:
    from matplotlib import ticker

    return f"{value:g}" if 1e-4 <= value < 1e4 else ticker.EngFormatter(sep="")(value) if value >= 1 else f"{value:.0e}"


def _inherit_font(found: re.Match[str]) -> str:
    return f"{found.group(1)}sans-serif" if found.group(1) else "font-family: inherit"


def _with_room(places: list[float], least_gap: float) -> set[int]:
    """Which ticks get a number: the last, and going down each that keeps its distance."""
    kept: list[int] = []
    for i in reversed(range(len(places))):
        if not kept or places[kept[-1]] - places[i] >= least_gap:
            kept.append(i)
    return set(kept)


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


Drawing = Callable[[Any], None]
"""Draws on axes of matplotlib."""


@dataclass(frozen=True)
class Section:
    """One figure.

    Args:
        title: What it shows.
        draw: Draws it; None where there is nothing to draw, or where the panels are all there is.
        told: What to see in it, and where its numbers come from; without a figure, why there is none.
        panels: Several drawings side by side, each with its name.
    """

    title: str
    draw: Drawing | None
    told: str
    panels: tuple[tuple[str, Drawing], ...] = ()

    @property
    def pictures(self) -> tuple[tuple[str, Drawing], ...]:
        """Its drawings with their names; the name of a single one is empty."""
        return self.panels if self.draw is None else (("", self.draw), *self.panels)

    def _repr_html_(self) -> str:
        """The figure with its words, for notebooks."""
        pictures = "".join(image_tag(sketch(draw), f"{self.title} {name}".strip()) for name, draw in self.pictures)
        return heading(self.title) + pictures + paragraphs([self.told])


def left_out(title: str, why: str) -> Section:
    """A figure for which there is no data.

    Args:
        title: What it would show.
        why: Why it does not; one sentence.
    """
    return Section(title, None, why)
