"""The pictures of a probe."""

from __future__ import annotations

from dataclasses import replace

import pytest
from probe_example import run

from tuning.machine.machine import Machine
from tuning.machine.memory import MemoryFindings
from tuning.machine.noise import GradientNoise
from tuning.noise_messages import NoiseScalePoint
from tuning.show.probe_page import Probe, draw


def test_three_panels_show_line_limit_knees_and_intervals() -> None:
    found = run()
    memory, throughput, noise = draw(found).axes
    assert [axes.get_title() for axes in (memory, throughput, noise)] == [
        "Peak memory",
        "Throughput",
        "Gradient noise scale",
    ]
    assert {text.get_text() for text in memory.get_legend().get_texts()} >= {"fits", "limit"}
    told = {text.get_text() for text in throughput.get_legend().get_texts()}
    assert f"knee at {found.throughput.knee('keras')}" in told
    assert len(noise.containers) == 1  # the error bars


def test_what_was_not_measured_is_said() -> None:
    memory = MemoryFindings((), run().memory.limit, 0.01, 10, "keras")
    empty = Probe("w", "cpu:0", Machine(memory=memory), 10)
    _, throughput, noise = draw(empty).axes
    assert [axes.texts[0].get_text() for axes in (throughput, noise)] == ["not measured"] * 2


def test_a_bound_alone_is_drawn_as_a_mark() -> None:
    bound = GradientNoise((NoiseScalePoint(100, None, 900.0, None, 5.0, -0.1),))
    found = run()
    noise = draw(replace(found, machine=replace(found.machine, noise=bound))).axes[2]
    assert noise.lines[0].get_ydata()[0] == 900.0


@pytest.mark.parametrize(("file_format", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_it_is_written_as_png_or_svg(file_format: str, start: bytes) -> None:
    assert run().render(file_format).startswith(start)


def test_another_format_is_refused() -> None:
    with pytest.raises(ValueError, match="png or svg; got 'pdf'"):
        run().render("pdf")


def test_a_notebook_shows_the_words_the_table_and_the_picture() -> None:
    found = run()
    shown = found._repr_html_()
    assert shown.count("<img ") == 1
    assert all(f">{probe.batch_size}</td>" in shown for probe in found.memory.probes)
    assert "Largest batch size that fits" in shown
