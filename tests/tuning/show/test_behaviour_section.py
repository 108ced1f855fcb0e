"""The figure of efficiency, stability and generalisation: its marks, its words, and what it leaves out."""

from __future__ import annotations

from dataclasses import replace
from statistics import median
from typing import Any

import pytest
from example_evidence import ACCURACY, evidence, trials

from tuning.show.behaviour_section import behaviour_section
from tuning.show.canvas import Section, sketch
from tuning.show.evidence import analyse
from tuning.stats.arms import group_into_arms
from tuning.stats.behaviour import trained
from tuning.trial import Status, Trial, finished_trial


def section_of(ended: list[Trial] | None = None) -> Section:
    found = evidence(ended)
    return behaviour_section(found, analyse(found))


def axes_of(section: Section, name: str) -> Any:
    return sketch(dict(section.pictures)[name]).axes[0]


def marks(axes: Any) -> dict[str, list[tuple[float, float]]]:
    """What is drawn, by its name in the legend."""
    handles, names = axes.get_legend_handles_labels()
    drawn = dict(zip(names, handles, strict=True))
    return {name: list(zip(*line.get_data(), strict=True)) for name, line in drawn.items()}


def test_every_seed_is_a_point_beside_the_median_of_its_size() -> None:
    section = section_of()
    made = trained(group_into_arms(trials(), objective=ACCURACY), ACCURACY)
    noises = {size: [100 * facts.update_noise for facts in each.facts.values()] for size, each in made.items()}
    drawn = marks(axes_of(section, "Stability"))
    every = sorted(value for noise in noises.values() for value in noise)
    assert sorted(value for _, value in drawn["one seed"]) == pytest.approx(every)
    medians = dict([*drawn["median"], *drawn["recommended"]])
    assert medians == pytest.approx({size: median(noise) for size, noise in noises.items()})


def test_each_panel_has_its_axis_and_the_gap_at_equal_loss_is_marked() -> None:
    section = section_of()
    assert [axes_of(section, name).get_ylabel() for name, _ in section.pictures] == [
        "examples per second",
        "update noise (% of the loss)",
        "validation minus training loss",
    ]
    behaviour = evidence().answer.recommendation.behaviour
    equal = marks(axes_of(section, "Generalisation"))["at equal training loss"]
    assert [gap for _, gap in equal] == [row.gap_at_equal_loss for row in behaviour.sizes if row.gap_at_equal_loss]
    assert f"at equal training loss, {behaviour.equal_loss:.3f}." in section.told


def test_the_words_name_how_most_trainings_went() -> None:
    assert "How most trainings went, by batch size: 4 and 16: still improving, noisy; 64, 256" in section_of().told


def test_a_size_that_diverged_is_crossed() -> None:
    ended = [*trials((8, 16), multiples=(1,)), finished_trial(64, 0, None, status=Status.DIVERGED, learning_rate=0.1)]
    drawn = marks(axes_of(section_of(ended), "Stability"))
    assert [size for size, _ in drawn["one diverged"]] == [64]


def test_short_trainings_have_no_panel_of_stability() -> None:
    section = section_of(trials((8, 16), multiples=(1,), epochs=3))
    assert [name for name, _ in section.pictures] == ["Efficiency", "Generalisation"]


def test_without_a_throughput_there_is_no_panel_of_efficiency() -> None:
    slow = [
        replace(trial, outcome=trial.outcome and replace(trial.outcome, examples_per_second=None, seconds=None))
        for trial in trials((8, 16), multiples=(1,))
    ]
    assert [name for name, _ in section_of(slow).pictures] == ["Stability", "Generalisation"]


def test_trainings_without_a_loss_are_left_out_with_a_reason() -> None:
    bare = [finished_trial(size, seed, 0.9 + size / 1e4) for size in (8, 16) for seed in range(2)]
    section = section_of(bare)
    assert section.pictures == ()
    assert "logged its training loss" in section.told


def test_a_notebook_shows_every_panel() -> None:
    assert section_of()._repr_html_().count("<img") == 3
