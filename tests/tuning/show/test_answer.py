"""An answer on a terminal, in a notebook, as Markdown and as JSON."""

from __future__ import annotations

import io
import subprocess
import sys
from dataclasses import replace
from typing import Any

from rich.console import Console

import tuning
from tuning.machine.advice import TrainingAdvice
from tuning.objective import Objective
from tuning.record.reading import StudyRecord
from tuning.show.answer import Answer, recommend_from
from tuning.stats.behaviour import Behaviour
from tuning.stats.recommendation import Recommendation, recommend
from tuning.trial import Trial, finished_trial

ACCURACY = Objective("val_accuracy")


def trials(**more: Any) -> list[Trial]:
    return [finished_trial(size, seed, 0.9 + (size + seed) / 1000, **more) for size in (8, 16) for seed in range(2)]


def found(**more: Any) -> Recommendation:
    return recommend(trials(**more), objective=ACCURACY, notes=["mind <this>"])


def test_an_answer_fits_80_columns_and_survives_json_and_markdown() -> None:
    wide = [
        finished_trial(
            size,
            seed,
            0.9 + seed / 100,
            learning_rate=1.234e-4,
            examples_per_second=123456.0,
            peak_memory_bytes=2**40,
        )
        for size in (8, 4096)
        for seed in range(3)
    ]
    answer = Answer(recommend(wide, objective=ACCURACY), "study", "sqlite:///mlflow.db", "1")
    console = Console(file=io.StringIO(), width=80)
    answer.show(console)
    assert isinstance(console.file, io.StringIO)
    told = console.file.getvalue()
    assert "…" not in told
    assert "recommended" in told
    assert "| 4096 |" in answer.to_markdown()
    assert list(answer.to_json())[:3] == ["schema_version", "study", "tracking_uri"]


def test_where_time_decided_the_table_tells_it_and_the_reason_comes_before_the_risk() -> None:
    def curve(size: int, seed: int) -> tuple[tuple[int, float], ...]:
        hit = {8: 1000, 4096: 20000}[size] + 10 * seed
        return (hit - 1, 0.0), (hit, 0.95), (40_000, 0.98)

    told = [
        finished_trial(size, seed, 0.98, curve=curve(size, seed), examples_per_second=123456.0, peak_memory_bytes=2**40)
        for size in (8, 4096)
        for seed in range(3)
    ]
    answer = Answer(
        recommend(told, objective=ACCURACY, target=0.95), "study", "", "1", proceeds="Settle: x " + "y" * 90
    )
    console = Console(file=io.StringIO(), width=80)
    answer.show(console)
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "to target" in shown
    assert "0.00818 s" in shown
    assert answer.recommendation.table[1].verdict == "slower"
    places = [shown.index(text) for text in ("Train with a batch size of 8", "soonest", "chance that", "Not tested")]
    assert places == sorted(places)
    assert f"\nSettle: x {'y' * 90}\n" in shown, "a command is not broken into lines"


def test_a_terminal_has_three_observations_and_everything_else_has_all() -> None:
    observations = tuple(f"Observation {i} of <many>." for i in range(5))
    seen = replace(found(), behaviour=Behaviour(observations=observations))
    answer = Answer(seen, "study", "", "1")
    console = Console(file=io.StringIO(), width=80)
    answer.show(console)
    assert isinstance(console.file, io.StringIO)
    told = console.file.getvalue()
    assert [text for text in observations if text in told] == list(observations[:3])
    assert all(f"- {text}\n" in answer.to_markdown() for text in observations)
    assert answer._repr_html_().count("of &lt;many&gt;.</p>") == 5
    assert answer.to_json()["behaviour"]["observations"] == list(observations)


def test_energy_is_in_the_table_where_there_is_any() -> None:
    told = [trial for size in (8, 16) for trial in trials_of_energy(size)]
    answer = Answer(recommend(told, objective=ACCURACY), "study", "", "1")
    console = Console(file=io.StringIO(), width=80)
    answer.show(console)
    assert isinstance(console.file, io.StringIO)
    assert "MiB mJ/ex verdict" in console.file.getvalue()
    assert "| MiB | mJ/ex | verdict |" in answer.to_markdown()
    assert answer.to_markdown().splitlines()[-1].split(" | ")[-2] == "1,600"
    assert "mJ/ex" in answer._repr_html_()
    rows = answer.to_json()["table"]
    assert [(row["energy_joules"], row["mean_watts"], row["joules_per_example"]) for row in rows] == [
        (80.0, 40.0, 0.8),
        (160.0, 40.0, 1.6),
    ]
    assert answer.to_json()["energy_note"] == ""


def test_energy_that_nobody_read_has_no_column_and_a_note_in_json() -> None:
    answer = Answer(found(energy_note="there is no counter"), "study", "", "1")
    assert "mJ/ex" not in answer.to_markdown()
    assert answer.to_json()["energy_note"] == "Energy is not known for 8 and 16: there is no counter."
    assert answer.to_json()["table"][0]["joules_per_example"] is None


def test_what_was_recorded_is_picked_from_by_energy() -> None:
    told = [
        finished_trial(size, seed, 0.9 + seed / 100, examples_per_second=10.0 * size, joules_per_example=size / 10)
        for size in (8, 16)
        for seed in range(3)
    ]
    record = StudyRecord("study", "", "1", ACCURACY, tuple(told), {})
    picks = [recommend_from(record, {"cost": cost}).recommendation for cost in (None, "time", "energy")]
    assert [pick.batch_size for pick in picks] == [16, 16, 8]
    assert [pick.cost for pick in picks] == ["seconds per example", "seconds per example", "joules per example"]


def trials_of_energy(size: int) -> list[Trial]:
    energy = {"energy_joules": 10.0 * size, "mean_watts": 40.0, "joules_per_example": size / 10}
    return [finished_trial(size, seed, 0.9 + seed / 100, **energy) for seed in range(3)]


def test_a_notebook_shows_the_words_the_table_and_two_figures() -> None:
    shown = Answer(found(examples_per_second=1e4, seconds=2.0), "s", "", "1")._repr_html_()
    assert f"<h4>{found().reasons[0]}</h4>" in shown
    assert "mind &lt;this&gt;" in shown
    assert shown.count("<tr>") == 1 + 2
    assert shown.count("<img ") == 2
    assert shown.count("data:image/png;base64,") == 2


def test_without_costs_there_is_no_trade_off() -> None:
    assert Answer(found(), "s", "", "1")._repr_html_().count("<img ") == 1


def test_an_answer_also_says_how_to_train() -> None:
    shown = Answer(found(), "s", "", "1", TrainingAdvice(8, "device", 45, False, 4e4, 1e4))._repr_html_()
    assert "Plain model.fit(batch_size=8) trains 10,000 examples per second here." in shown


_IN_IPYTHON = """
import sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
import tuning
assert "tuning.stats.recommendation" not in sys.modules, "what draws is registered by name, not loaded"
from tuning.stats.behaviour import Behaviour
from tuning.stats.recommendation import Recommendation
registered = shell.display_formatter.formatters["text/html"].lookup_by_type(Recommendation)
assert registered is tuning._to_html, registered
assert "matplotlib.figure" not in sys.modules, "nothing is drawn before a recommendation is shown"
"""

_WITHOUT_PICTURES = """
import importlib, pkgutil, sys
import tuning.stats
for module in pkgutil.iter_modules(tuning.stats.__path__):
    importlib.import_module(f"tuning.stats.{module.name}")
loaded = {name.partition(".")[0] for name in sys.modules}
assert not loaded & {"matplotlib", "jinja2", "markupsafe", "mlflow", "tensorflow", "keras"}, loaded
assert "tuning.show" not in sys.modules
"""


def _run(code: str) -> None:
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def test_ipython_is_told_how_a_recommendation_draws_itself() -> None:
    _run(_IN_IPYTHON)
    assert tuning._to_html(found()).count("<img ") == 1


def test_statistics_load_no_pictures() -> None:
    _run(_WITHOUT_PICTURES)


def test_an_answer_names_the_machine_that_it_was_measured_on() -> None:
    versions = "machine Imaginary A1, 4 cores, compute capability 8.0\nmachine Imaginary B2, 8 cores\nkeras 3.15.1"
    trials = tuple(finished_trial(size, 0, 0.9) for size in (8, 16))
    named = recommend_from(StudyRecord("study", "", "1", ACCURACY, trials, {"versions": versions}), {})
    assert named.to_json()["machine"] == versions.splitlines()
    assert "Measured on Imaginary A1 and Imaginary B2." in named.to_markdown()
    foreign = recommend_from(StudyRecord("study", "", "1", ACCURACY, trials, {}), {})
    assert foreign.to_json()["machine"] == []
    assert "Measured on" not in foreign.to_markdown()
