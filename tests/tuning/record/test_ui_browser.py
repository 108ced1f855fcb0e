"""MLflow's UI in a real browser: what the saved view and the tags look like, which no other test can tell."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import EXECUTABLE, Chromium
from example_study import BATCH_SIZES, HEADLINE, REASON, record_example
from mlflow import MlflowClient
from ui_process import UiProcess

from tuning.record import layout
from tuning.record.mlflow_tracker import MlflowTracker

pytestmark = pytest.mark.skipif(EXECUTABLE is None, reason="needs chromium; on Debian: apt-get install chromium")

CHARTS = ("val_accuracy", "batch_size vs. val_accuracy", "loss", "examples_per_second", "peak_memory_bytes")


@pytest.fixture(scope="module")
def ui(migrated_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[UiProcess]:
    path = tmp_path_factory.mktemp("browser") / "mlflow.db"
    shutil.copy(migrated_store, path)
    record_example(MlflowTracker(f"sqlite:///{path}"))
    with UiProcess(f"sqlite:///{path}") as running:
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
    browser.wait_for("document.querySelectorAll('.js-plotly-plot').length == 5")
    # Wherever Plotly has drawn: points and lines of the curves and of the scatter, bars.
    browser.wait_for("document.querySelectorAll('.js-plotly-plot .trace').length >= 2 * 7 + 1 + 2")
    browser.wait_for("document.querySelectorAll('.js-plotly-plot .barlayer .point').length == 2 * 7")
    browser.wait_for("document.querySelectorAll('.js-plotly-plot .scatterlayer .point').length >= 2 * 7 * 8 + 7")
    browser.wait_for_text("Parallel Coordinates")
    browser.wait_for("document.querySelectorAll('.parcoords canvas').length > 0")
    shown = browser.text()
    assert all(chart in shown for chart in CHARTS)
    assert "Group by: batch_size" in shown
    assert all(f"{batch_size} (val_accuracy)" in shown for batch_size in BATCH_SIZES)
    assert "does not exist" not in shown  # what the UI says of a view that it cannot read


def test_the_table_has_the_columns_of_the_view(ui: UiProcess, browser: Chromium) -> None:
    browser.resize(1920, 1080)
    browser.open(ui.url.replace("CHART", "TABLE"))
    left = "cell.getBoundingClientRect().left"
    cells = f"[...document.querySelectorAll('.ag-header-cell')].map(cell => [{left}, cell.innerText.trim()])"
    headers = f"{cells}.sort((one, other) => one[0] - other[0]).map(cell => cell[1]).slice(-7).join(' ')"
    metrics = "val_accuracy examples_per_second peak_memory_bytes"
    browser.wait_for(f"{headers} == 'batch_size learning_rate seed batch_size.status {metrics}'")
    names = "[...document.querySelectorAll('.ag-cell a')].map(link => link.innerText).filter(Boolean)"
    browser.wait_for(f"{names}.length >= 21 && {names}.every(name => name.startsWith('batch '))")


def test_a_trial_opens(ui: UiProcess, browser: Chromium) -> None:
    browser.open(run_of(ui, "completed"))
    browser.wait_for_text("learning_rate")
    browser.wait_for_text("examples_per_second")
    assert "seed 2" in browser.text()


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
