"""What a notebook shows of a recommendation."""

from __future__ import annotations

import subprocess
import sys

from tuning.machine.advice import TrainingAdvice
from tuning.objective import Objective
from tuning.show.answer import Answer, to_html
from tuning.stats.recommendation import recommend
from tuning.trial import Trial, finished_trial

MAX = Objective("val_accuracy")


def results(**more: float) -> list[Trial]:
    return [finished_trial(size, seed, 0.9 + (size + seed) / 1000, **more) for size in (8, 16) for seed in range(2)]


def test_a_recommendation_shows_its_words_its_table_and_two_figures() -> None:
    found = recommend(results(examples_per_second=1e4, seconds=2.0), objective=MAX, notes=["mind <this>"])
    shown = to_html(found)
    assert f"<h4>{found.reasons[0]}</h4>" in shown
    assert "mind &lt;this&gt;" in shown
    assert shown.count("<tr>") == 1 + 2
    assert shown.count("<img ") == 2
    assert shown.count("data:image/png;base64,") == 2


def test_without_costs_there_is_no_trade_off() -> None:
    assert to_html(recommend(results(), objective=MAX)).count("<img ") == 1


def test_an_answer_also_says_how_to_train() -> None:
    found = recommend(results(), objective=MAX)
    shown = Answer(found, "s", "", "1", TrainingAdvice(8, "device", 45, False, 4e4, 1e4))._repr_html_()
    assert "Plain model.fit(batch_size=8) trains 10,000 examples per second here." in shown


def test_ipython_is_told_how_a_recommendation_draws_itself_and_statistics_load_no_figures() -> None:
    script = """
import sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
import tuning
from tuning import recommend
from tuning.objective import Objective
from tuning.trial import finished_trial
assert "matplotlib" not in sys.modules
found = recommend([finished_trial(8, seed, 0.5) for seed in range(3)], objective=Objective("val_accuracy"))
html = shell.display_formatter.format(found)[0]["text/html"]
assert "<img " in html
"""
    subprocess.run([sys.executable, "-c", script], check=True)
