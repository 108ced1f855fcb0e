"""The report in a real browser: nothing wider than a phone, nothing cut off, other colours in the dark."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from chromium import EXECUTABLE, Chromium
from example_evidence import evidence

from tuning.show.page import render_report

pytestmark = pytest.mark.skipif(EXECUTABLE is None, reason="needs chromium; on Debian: apt-get install chromium")

# Every text of every figure lies within its figure.
_CUT_OFF = """
[...document.querySelectorAll('svg')].flatMap(svg => {
  const whole = svg.getBoundingClientRect();
  return [...svg.querySelectorAll('text')].filter(text => {
    const box = text.getBoundingClientRect();
    return box.left < whole.left - 1 || box.right > whole.right + 1 || box.top < whole.top - 1
      || box.bottom > whole.bottom + 1;
  }).map(text => text.textContent);
}).join('|')
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    page = tmp_path_factory.mktemp("report") / "report.html"
    page.write_text(render_report(evidence()))
    with Chromium() as running:
        running.open(page.as_uri())
        running.wait_for("document.querySelectorAll('svg').length == 12")
        yield running


@pytest.mark.parametrize("width", [375, 768, 1280, 1920])
def test_the_page_fits_the_window_and_no_text_of_a_figure_is_cut_off(browser: Chromium, width: int) -> None:
    browser.resize(width, 800)
    browser.wait_for(f"innerWidth == {width}")
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.evaluate(_CUT_OFF) == ""


def test_the_dark_has_a_palette_of_its_own(browser: Chromium) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    mark = "getComputedStyle(document.querySelector('svg [style*=\"--blue\"]')).stroke"
    browser.prefer("light")
    light = browser.evaluate(ground), browser.evaluate(mark)
    browser.prefer("dark")
    dark = browser.evaluate(ground), browser.evaluate(mark)
    assert light[0] == "rgb(255, 255, 255)"
    assert all(one != other for one, other in zip(light, dark, strict=True))


def test_nothing_is_asked_of_the_network(browser: Chromium) -> None:
    asked = (
        "performance.getEntriesByType('resource').map(entry => entry.name).filter(name => !name.startsWith('data:'))"
    )
    assert browser.evaluate(asked) == []
