"""The importance of parameters is that of a score whose making is known."""

from __future__ import annotations

import math

import pytest
from example_evidence import evidence, trials

from tuning.show.canvas import sketch
from tuning.show.importance_section import importance_section, parameter_shares
from tuning.trial import Trial, finished_trial

SIZES, RATES = (8, 16, 32, 64), (1e-4, 1e-3, 1e-2, 1e-1)


def made(of_size: float, of_rate: float) -> list[Trial]:
    """Trials whose score is a sum, so that shares of its variance follow from its factors."""
    return [
        finished_trial(size, 0, 0.1 + of_size * math.log2(size) + of_rate * math.log10(rate), learning_rate=rate)
        for size in SIZES
        for rate in RATES
    ]


def test_the_shares_are_those_of_a_sum(capfd: pytest.CaptureFixture[str]) -> None:
    ended = made(0.01, 0.02)  # the same spread of both logarithms, so variances as 1 to 4
    varying = {"batch_size": [t.batch_size for t in ended], "learning_rate": [t.learning_rate for t in ended]}
    shares = parameter_shares(ended, varying)
    assert list(shares) == ["learning_rate", "batch_size"]
    assert shares["learning_rate"] == pytest.approx(0.8, abs=0.1)
    assert sum(shares.values()) == pytest.approx(1)
    assert capfd.readouterr() == ("", "")


def test_what_has_no_part_in_the_score_has_none_in_its_variance() -> None:
    ended = made(0.0, 0.02)
    varying = {"batch_size": [t.batch_size for t in ended], "learning_rate": [t.learning_rate for t in ended]}
    assert parameter_shares(ended, varying)["batch_size"] < 0.05


def test_a_rate_that_follows_the_batch_size_has_no_importance_of_its_own() -> None:
    assert importance_section(evidence(trials(multiples=(1,)))) == ()


def test_it_is_said_why_there_is_no_figure() -> None:
    (section,) = importance_section(evidence(target=0.9))
    assert section.draw is None
    assert "end at the target" in section.told
    (section,) = importance_section(evidence(trials(sizes=(4, 16), seeds=1)))
    assert "Fewer than 12 trials" in section.told


def test_a_bar_is_drawn_for_each_parameter() -> None:
    (section,) = importance_section(evidence())
    assert "batch_size 4 to 1024 and learning_rate" in section.told
    assert section.draw is not None
    axes = sketch(section.draw).axes[0]
    assert {label.get_text() for label in axes.get_yticklabels()} == {"batch_size", "learning_rate"}
    assert [bar.get_width() for bar in axes.patches][-1] == max(bar.get_width() for bar in axes.patches)
