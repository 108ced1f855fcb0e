"""The report in a real browser: nothing wider than a phone, nothing cut off, other colours in the dark."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import EXECUTABLE, Chromium
from example_evidence import ACCURACY, evidence, trials

from tuning.show.page import render_report
from tuning.stats.recommendation import recommend
from tuning.stats.rules import RULES
from tuning.trial import Trial

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
        running.wait_for("document.querySelectorAll('svg').length == 13")
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


_ASKED = """
(() => {
  const set = (id, value, event) => {
    const field = document.getElementById(id);
    field.value = value;
    field.dispatchEvent(new Event(event));
  };
  set("rule", %s, "change");
  set("tolerance", %s, "input");
  const told = document.getElementById("picked").dataset;
  const rows = [...document.querySelectorAll("tr.picked")].map(row => row.dataset.size);
  return [told.batchSize, told.eligible, rows.join(), document.getElementById("again").textContent].join("|");
})()
"""


@pytest.mark.parametrize("target", [None, 0.9])
def test_the_page_picks_what_recommend_picks_by_every_rule_at_every_tolerance(
    browser: Chromium, target: float | None, tmp_path: Path
) -> None:
    ended = trials()
    page = tmp_path / "report.html"
    page.write_text(render_report(evidence(ended, target=target)))
    browser.open(page.as_uri())
    browser.wait_for("document.getElementById('picked')?.dataset.batchSize")
    seen = set()
    for rule in RULES:
        gaps = _gaps(ended, rule, target)
        near = [gap * factor for gap in gaps for factor in (1 - 1e-12, 1, 1 + 1e-12)]  # where a pick may change
        for tolerance in (None, 0.0, 0.002, 0.02, 0.5, *near):
            found = recommend(ended, objective=ACCURACY, rule=rule, tolerance=tolerance, target=target)
            text = "" if tolerance is None else repr(tolerance)
            size, eligible, rows, command = browser.evaluate(_ASKED % (json.dumps(rule), json.dumps(text))).split("|")
            assert (int(size), [*map(int, eligible.split(","))]) == (found.batch_size, list(found.eligible))
            assert rows == size
            assert command.endswith(f"--rule {rule}" + (f" --tolerance {text}" if text else ""))
            assert ("--target 0.9" in command) == (target is not None)
            seen.add(found.batch_size)
    assert len(seen) > 2


def _gaps(ended: list[Trial], rule: str, target: float | None) -> list[float]:
    compared = recommend(ended, objective=ACCURACY, rule="quality", target=target).comparison
    return [] if compared is None else [compared.gap(size) for size in compared.batch_sizes]


def test_the_slider_and_the_number_show_one_tolerance(browser: Chromium) -> None:
    moved = """(() => {
      slider.value = slider.max;
      slider.dispatchEvent(new Event("input"));
      const most = tolerance.value;
      slider.value = 0;
      slider.dispatchEvent(new Event("input"));
      return most + "|" + tolerance.value;
    })()"""
    most, none = browser.evaluate(moved).split("|")
    assert float(most) > 0
    assert none == ""  # no tolerance, as the page begins


def test_a_point_says_what_it_is_where_one_points_at_it(browser: Chromium) -> None:
    pointed = """(() => {
      const mark = document.querySelector("circle.mean[data-size='64']");
      mark.dispatchEvent(new PointerEvent("pointerover", {bubbles: true}));
      const tip = document.getElementById("tip");
      const box = tip.getBoundingClientRect();
      const told = [tip.textContent, tip.hidden, box.left >= 0 && box.right <= innerWidth].join("|");
      document.body.dispatchEvent(new PointerEvent("pointerover", {bubbles: true}));
      return told + "|" + tip.hidden;
    })()"""
    text, hidden, inside, hidden_after = browser.evaluate(pointed).split("|")
    assert text.startswith("batch size 64, val_accuracy 0.9")
    assert (hidden, inside, hidden_after) == ("false", "true", "true")


def test_nothing_is_asked_of_the_network(browser: Chromium) -> None:
    asked = (
        "performance.getEntriesByType('resource').map(entry => entry.name).filter(name => !name.startsWith('data:'))"
    )
    assert browser.evaluate(asked) == []
