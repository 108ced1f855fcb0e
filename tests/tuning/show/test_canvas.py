"""The canvas: what every figure shares."""

from __future__ import annotations

import base64
import itertools
import re
import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest

from tuning.show.canvas import BLUE, INK, STEPS, batch_axis, image_tag, inline_svg, legend, log_axis, sketch, steps


def drawn(axes: Any) -> None:
    axes.plot([8, 16, 32], [1.0, 2.0, 3.0], "o-", color=BLUE, label="a < b & c")
    axes.set_ylabel("score")
    batch_axis(axes, [8, 16, 32])
    legend(axes)


def test_an_svg_takes_the_colours_and_the_font_of_the_page() -> None:
    svg = inline_svg(sketch(drawn), 'what "it" shows')
    found = ElementTree.fromstring(svg)
    assert found.get("aria-label") == 'what "it" shows'
    assert found.get("width") is None  # as wide as its place
    assert "var(--blue, #0072b2)" in svg
    assert "currentColor" in svg
    assert INK not in svg
    assert "DejaVu" not in svg
    assert "a &lt; b &amp; c" in svg
    assert "<metadata" not in svg


def test_the_same_numbers_give_the_same_svg() -> None:
    assert inline_svg(sketch(drawn), "x") == inline_svg(sketch(drawn), "x")


def test_an_image_holds_a_png() -> None:
    tag = image_tag(sketch(drawn), "a & b")
    assert 'alt="a &amp; b"' in tag
    data = re.search(r"base64,([^\"]*)", tag)
    assert data is not None
    assert base64.b64decode(data.group(1)).startswith(b"\x89PNG")


@pytest.mark.parametrize("sizes", [[32], [1, 1437], [2**k for k in range(17)], list(range(8, 64))])
def test_numbers_on_the_axis_of_batch_sizes_do_not_touch(sizes: list[int]) -> None:
    figure = sketch(lambda axes: batch_axis(axes, sizes))
    figure.draw_without_rendering()
    ticks = figure.axes[0].get_xticklabels()
    boxes = [label.get_window_extent() for label in ticks if label.get_text()]
    assert boxes
    assert len(ticks) == len(sizes)
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))


@pytest.mark.parametrize(("low", "high"), [(1.0, 1.3), (3e-5, 2e-3), (0.5, 700), (1e3, 1e9)])
def test_a_logarithmic_axis_has_plain_numbers(low: float, high: float) -> None:
    def draw(axes: Any) -> None:
        axes.plot([0, 1], [low, high])
        log_axis(axes)

    figure = sketch(draw)
    figure.draw_without_rendering()
    inside = [label.get_text() for label in figure.axes[0].get_yticklabels() if low <= label.get_position()[1] <= high]
    assert len(inside) >= 2
    assert not any("$" in text for text in inside)


@pytest.mark.parametrize("high", [0.2643978767911903, 0.2644])
def test_values_that_differ_by_rounding_can_be_drawn_on_a_logarithmic_axis(high: float) -> None:
    def draw(axes: Any) -> None:
        axes.plot([10], [0.26439787679119026], "o")
        axes.plot([10], [high], "s")
        log_axis(axes)

    figure = sketch(draw)
    figure.draw_without_rendering()
    bottom, top = figure.axes[0].get_ylim()
    assert bottom < 0.2643 < 0.2645 < top


def test_steps_go_from_dark_to_light() -> None:
    assert steps(2) == [STEPS[0], STEPS[-1]]
    assert len(steps(1)) == 1
    assert len(steps(20)) == 20
