"""The report: complete, escaped, self-contained, and honest about what it lacks."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import pytest
from example_evidence import evidence, trials

from tuning.objective import Objective
from tuning.record.runs import Measurements
from tuning.show.page import render_report, sections_of
from tuning.trial import Status, Trial, finished_trial

LOSS = Objective("val_loss", "min")


@pytest.fixture(scope="module")
def page() -> str:
    return render_report(evidence())


def test_every_figure_is_drawn_where_there_is_data_for_all(page: str) -> None:
    titles = [section.title for section in sections_of(evidence())]
    assert len(titles) == 11
    assert page.count("<svg") == 10 + 3  # efficiency, stability and generalisation share a figure
    assert "Left out" not in page
    assert all(title in page for title in titles)


def test_the_page_needs_no_network(page: str) -> None:
    links = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert all(link.startswith(("#", "data:")) for link in links)  # marks of a figure, the colours of a map
    assert "url(http" not in page
    assert "@import" not in page
    scripts = re.findall(r"<script([^>]*)>", page)
    assert scripts == [' type="application/json" id="picks"', ""]  # numbers, and what is written in the page itself
    assert not re.search(r"fetch\(|XMLHttpRequest|import\(|WebSocket|sendBeacon", page)
    assert len(page) < 300_000


def test_what_people_wrote_is_escaped(page: str) -> None:
    assert "a note with &lt;b&gt;marks&lt;/b&gt;" in page
    assert "no room for &lt;tensor&gt; &amp; more" in page
    assert "<title>study &amp; co" in page


def test_figures_are_sound_xml_in_colours_that_the_page_chooses(page: str) -> None:
    for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        assert ElementTree.fromstring(svg).get("role") == "img"
        assert "currentColor" in svg
        assert "#1b1f24" not in svg
    names = set(re.findall(r"var\(--(\w+), #", page))
    dark = page.split("prefers-color-scheme: dark", 1)[1].split("\n}\n", 1)[0]
    assert names
    assert all(f"--{name}:" in dark for name in names)


def test_the_table_says_the_verdicts_and_the_pareto_set(page: str) -> None:
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", page, re.DOTALL)[1:]
    cells = [re.findall(r"<td>(.*?)</td>", row) for row in rows]
    assert [row[0] for row in cells] == ["4", "16", "64", "256", "1024"]
    assert [row[1] for row in cells].count("recommended") == 1
    assert cells[-1][1] == "out of memory"
    assert any(row[-1] == "yes" for row in cells)
    assert "3 × out of memory" in page


def test_the_words_the_command_and_the_versions_are_there(page: str) -> None:
    found = evidence().answer.recommendation
    assert all(reason in page for reason in found.reasons)
    assert "Plain model.fit(batch_size=" in page
    assert "<pre><code>batch-size grid x</code></pre>" in page
    assert "<dt>keras</dt><dd>3</dd>" in page


def test_the_page_tells_how_trainings_went_and_draws_what_is_traded_off(page: str) -> None:
    observations = evidence().answer.recommendation.behaviour.observations
    assert len(observations) == 2
    assert all(f"<p>{observation}</p>" in page for observation in observations)
    wide = re.search(r'<figure class="wide">(.*?)</figure>', page, re.DOTALL)
    assert wide is not None
    assert re.findall("<h4>(.*?)</h4>", wide.group(1)) == ["Efficiency", "Stability", "Generalisation"]
    assert 'aria-label="Efficiency, stability, generalisation Stability"' in wide.group(1)


def test_without_data_a_figure_is_left_out_with_a_reason() -> None:
    bare = [finished_trial(size, seed, 0.9 + size / 1e4) for size in (8, 16) for seed in range(2)]
    told = render_report(evidence(bare, measurements=Measurements(), settings={}))
    assert told.count("<svg") == 1
    assert told.count("<li>") == 9 + len(evidence(bare).answer.recommendation.caveats)
    assert "Gradient noise scale: It was not measured" in told
    assert "Peak memory by batch size: No trial logged its peak memory." in told
    assert "batch-size pick" not in told  # for runs of another program


@pytest.mark.parametrize(
    "ended",
    [
        trials((32,), seeds=1, multiples=(1,)),
        trials((32,), seeds=3, multiples=(1,), epochs=1),
        trials((8, 1437), seeds=2, multiples=(1,), epochs=2),
        [
            *trials((8, 16), multiples=(1,)),
            finished_trial(64, 0, None, status=Status.FAILED, learning_rate=0.1, reason="boom"),
        ],
        [*trials((8, 16), multiples=(1,)), finished_trial(64, 0, float("nan"), learning_rate=0.1)],
    ],
    ids=["one trial", "one epoch", "two sizes", "a failure", "a NaN"],
)
def test_small_and_broken_studies_have_a_report(ended: list[Trial]) -> None:
    told = render_report(evidence(ended, measurements=Measurements()))
    assert "<svg" in told
    assert ">nan<" not in told
    assert ">None<" not in told


def test_a_training_without_a_finite_score_is_told_as_diverged() -> None:
    ended = [*trials((8, 16), multiples=(1,)), finished_trial(64, 0, float("nan"), learning_rate=0.1)]
    assert "1 × diverged: no reason given" in render_report(evidence(ended))


def test_a_loss_to_minimise_has_a_report() -> None:
    losses = [
        finished_trial(size, seed, 0.5 + size / 999, learning_rate=0.1, metric="val_loss", curve=[(9, 0.5)])
        for size in (8, 16, 32)
        for seed in range(2)
    ]
    assert "<svg" in render_report(evidence(losses, objective=LOSS))


def test_five_hundred_trials_stay_small() -> None:
    many = trials((4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048), seeds=17, multiples=(0.3, 1, 3), epochs=50)
    assert len(many) > 500
    assert len(render_report(evidence(many))) < 500_000
