"""MLflow's UI in a real browser: what the saved view and the tags look like, which no other test can tell."""

from __future__ import annotations

import math
import shutil
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chromium import EXECUTABLE, Chromium
from example_study import HEADLINE, REASON, record_example
from fakes import ScriptedExecutor
from mlflow import MlflowClient
from scripted_searches import arguments, curve, probes
from ui_process import UiProcess

import tuning
from search_spaces import BatchSize, LearningRate
from tuning.record import layout
from tuning.record.mlflow_tracker import MlflowTracker
from tuning.record.mlflow_views import EVERYTHING, view_url
from tuning.trial import Status, Trial, TrialOutcome

pytestmark = pytest.mark.skipif(EXECUTABLE is None, reason="needs chromium; on Debian: apt-get install chromium")

CHARTS = ("answer/log2_batch_size vs. answer/score", "answer/log2_batch_size vs. answer/mean", "val_accuracy", "loss")
ANSWERS: dict[str, tuning.Recommendation] = {}
KINDS = {
    "grid": tuning.GridSearch,
    "bayes": tuning.BayesianOptimization,
    "tune": tuning.StagedSearch,
}
DOTS = """
Object.fromEntries([...document.querySelectorAll('.js-plotly-plot')].filter(plot => plot.layout.yaxis.title.text)
    .map(plot => [plot.layout.yaxis.title.text, [...plot.data[0].x].map((x, i) => [x, plot.data[0].y[i]])]))
"""


def searched(kind: str, folder: Path, uri: str) -> tuning.Recommendation:
    """Search with two learning rates, where rates are asked for; one size runs out of memory, one rate diverges."""

    def script(trial: Trial) -> TrialOutcome | list[float]:
        if trial.batch_size == 256 and trial.seed % 3 == 1:
            return TrialOutcome(trial.trial_id, Status.OUT_OF_MEMORY, "no memory")
        if trial.batch_size == 16 and trial.learning_rate == 0.1:
            return TrialOutcome(trial.trial_id, Status.DIVERGED, "the loss became NaN")
        return curve(trial)

    given: dict[str, Any] = {"batch_size": BatchSize.of(16, 64, 256), "seeds": 3, "prune": True}
    if kind == "grid":
        given["learning_rate"] = LearningRate.choices(1e-3, 1e-2, 1e-1)
    if kind == "bayes":
        given |= {"max_trials": 8, "sampler": "random"}
    tuner = KINDS[kind](
        lambda: None, "val_accuracy", directory=folder, project_name=kind, tracker=MlflowTracker(uri), **given
    )
    tuner.run(arguments(), ScriptedExecutor(script, probes=probes))
    return tuner.answer.recommendation


@pytest.fixture(scope="module")
def ui(migrated_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[UiProcess]:
    path = tmp_path_factory.mktemp("browser") / "mlflow.db"
    shutil.copy(migrated_store, path)
    uri = f"sqlite:///{path}"
    ANSWERS.update((kind, searched(kind, path.parent / "studies", uri)) for kind in KINDS)
    record_example(MlflowTracker(uri))
    with UiProcess(uri) as running:
        yield running


@pytest.fixture(scope="module")
def browser(ui: UiProcess) -> Iterator[Chromium]:
    with Chromium() as running:
        running.open(ui.server)
        running.wait_for_text("digits-grid")
        running.evaluate("localStorage.setItem('mlflow.assistant.panelOpen_v1', 'false')")
        yield running


def run_of(ui: UiProcess, status: str) -> str:
    client = MlflowClient(ui.server)
    experiment = client.get_experiment_by_name("digits-grid")
    found = client.search_runs([experiment.experiment_id], f"tags.`{layout.STATUS}` = '{status}'")
    return f"{ui.server}/#/experiments/{experiment.experiment_id}/runs/{found[0].info.run_id}"


def test_the_page_shows_the_recommendation_and_every_chart_filled(ui: UiProcess, browser: Chromium) -> None:
    browser.resize(1280, 1600)
    browser.open(ui.url)
    browser.wait_for_text(HEADLINE)
    browser.wait_for("document.querySelectorAll('.js-plotly-plot').length == 6")
    # Wherever Plotly has drawn: a point for each completed trial, and the points of its curve.
    browser.wait_for("document.querySelectorAll('.js-plotly-plot .scatterlayer .point').length >= 2 * 19 + 19 * 8")
    browser.wait_for_text("Parallel Coordinates")
    browser.wait_for("document.querySelectorAll('.parcoords canvas').length > 0")
    shown = browser.text()
    assert all(chart in shown for chart in CHARTS)
    assert "What decided" in shown
    assert "does not exist" not in shown  # what the UI says of a view that it cannot read


@pytest.mark.parametrize("kind", KINDS)
def test_the_dots_are_those_of_the_answer_s_table(kind: str, ui: UiProcess, browser: Chromium) -> None:
    table = [row for row in ANSWERS[kind].table if row.seeds]
    seeds = sum(row.seeds for row in table)
    client = MlflowClient(ui.server)
    experiment = client.get_experiment_by_name(kind).experiment_id
    runs = client.search_runs([experiment], f"tags.`{layout.TRIAL_ID}` != ''")
    assert {run.data.tags[layout.STATUS] for run in runs} >= {"completed", "pruned", "out_of_memory"}
    browser.open(view_url(ui.server, experiment))
    browser.wait_for(f"({DOTS})['answer/mean'] && ({DOTS})['answer/mean'].length == {seeds}")
    dots = browser.evaluate(DOTS)
    assert len(table) > 1
    for row in table:
        at = {name: [up for across, up in some if across == math.log2(row.batch_size)] for name, some in dots.items()}
        assert row.objective_mean is not None
        assert at["answer/mean"] == [round(row.objective_mean, 4)] * row.seeds
        assert at["answer/examples_per_second"] == [round(row.examples_per_second or 0)] * row.seeds
        if len({each.seeds for each in table}) == 1:  # else the mean is adjusted for the seeds that are missing
            assert statistics.fmean(at["answer/score"]) == pytest.approx(row.objective_mean, abs=1e-4)
        if kind == "tune" and row.seconds_to_target is not None:
            assert at["answer/seconds_to_target"] == [float(f"{row.seconds_to_target:.3g}")] * row.seeds


def test_the_view_of_all_trials_shows_those_that_failed_too(ui: UiProcess, browser: Chromium) -> None:
    client = MlflowClient(ui.server)
    experiment = client.get_experiment_by_name("grid").experiment_id
    runs = client.search_runs([experiment], f"tags.`{layout.TRIAL_ID}` != ''")
    statuses = {run.data.tags[layout.STATUS] for run in runs}
    assert {"completed", "pruned", "out_of_memory", "diverged"} <= statuses
    with_a_score = sum("val_accuracy" in run.data.metrics for run in runs)
    browser.open(view_url(ui.server, experiment, EVERYTHING))
    browser.wait_for(f"({DOTS})['val_accuracy'] && ({DOTS})['val_accuracy'].length == {with_a_score}")
    assert "All trials" in browser.text()


def test_the_page_from_mlflow_s_home_leads_on_to_the_views(ui: UiProcess, browser: Chromium) -> None:
    browser.open(f"{ui.server}/#/experiments")
    browser.wait_for("[...document.links].some(link => link.innerText.trim() == 'digits-grid')")
    browser.open(browser.evaluate("[...document.links].find(link => link.innerText.trim() == 'digits-grid').href"))
    browser.wait_for_text(HEADLINE)
    link = browser.evaluate("[...document.links].find(link => link.innerText == 'what decided').href")
    browser.open(link)
    browser.wait_for_text("answer/log2_batch_size vs. answer/mean")


def test_the_table_has_the_columns_of_the_view(ui: UiProcess, browser: Chromium) -> None:
    browser.resize(1920, 1080)
    browser.open(ui.url.replace("CHART", "TABLE"))
    left = "cell.getBoundingClientRect().left"
    cells = f"[...document.querySelectorAll('.ag-header-cell')].map(cell => [{left}, cell.innerText.trim()])"
    headers = f"{cells}.sort((one, other) => one[0] - other[0]).map(cell => cell[1]).join(' ')"
    browser.wait_for(f"{headers}.includes('batch_size seed answer/learning_rate answer/score')")
    names = "[...document.querySelectorAll('.ag-cell a')].map(link => link.innerText).filter(Boolean)"
    browser.wait_for(f"{names}.length >= 19 && {names}.every(name => name.startsWith('batch '))")


def test_a_trial_opens(ui: UiProcess, browser: Chromium) -> None:
    browser.open(run_of(ui, "completed"))
    browser.wait_for_text("learning_rate")
    browser.wait_for_text("examples_per_second")
    browser.wait_for_text(", seed ")  # of several runs that began together, any may come first


def test_a_failed_trial_shows_its_reason_and_the_log(ui: UiProcess, browser: Chromium) -> None:
    browser.open(run_of(ui, "out_of_memory"))
    browser.wait_for_text(REASON)
    browser.wait_for_text("ResourceExhaustedError")
    assert "Failed" in browser.text()


def test_the_description_leads_to_the_files(ui: UiProcess, browser: Chromium) -> None:
    browser.open(ui.url)
    browser.wait_for_text("Files of the recommendation")
    link = browser.evaluate("[...document.links].find(link => link.innerText.startsWith('Files of')).href")
    browser.open(link)
    browser.wait_for_text("report.html")
    browser.wait_for_text("recommendation.json")
