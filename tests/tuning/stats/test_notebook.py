"""What a notebook shows of a recommendation."""

from __future__ import annotations

from tuning.search.advice import TrainingAdvice
from tuning.show.answer import Answer
from tuning.stats.recommendation import recommend
from tuning.stats.results import TrialResult
from tuning.trial import Status


def results(**more: float) -> list[TrialResult]:
    return [
        TrialResult(size, seed, Status.COMPLETED, objective=0.9 + (size + seed) / 1000, **more)
        for size in (8, 16)
        for seed in range(2)
    ]


def test_a_recommendation_shows_its_words_its_table_and_two_figures() -> None:
    found = recommend(results(examples_per_second=1e4, seconds=2.0), maximize=True, notes=["mind <this>"])
    shown = found._repr_html_()
    assert f"<h4>{found.reasons[0]}</h4>" in shown
    assert "mind &lt;this&gt;" in shown
    assert shown.count("<tr>") == 1 + 2
    assert shown.count("<img ") == 2
    assert shown.count("data:image/png;base64,") == 2


def test_without_costs_there_is_no_trade_off() -> None:
    assert recommend(results(), maximize=True)._repr_html_().count("<img ") == 1


def test_an_answer_also_says_how_to_train() -> None:
    found = recommend(results(), maximize=True)
    shown = Answer(found, "s", "", "1", TrainingAdvice(8, "device", 45, False, 4e4, 1e4))._repr_html_()
    assert "Plain model.fit(batch_size=8) trains 10,000 examples per second here." in shown
