"""Names that MLflow does not document, each against the installed MLflow; and the saved view made of them."""

from __future__ import annotations

import base64
import json
import sqlite3
import zlib
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import mlflow.environment_variables as environment
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from requests.exceptions import ConnectionError, RetryError
from tracker_helpers import planned

from tuning.messages import Measurement
from tuning.record import mlflow_private
from tuning.record.mlflow_private import VIEW_TAG, view_url
from tuning.record.mlflow_tracker import MlflowTracker


def written(uri: str, objective: str) -> dict[str, Any]:
    """The page's state, read from the experiment's tag as MLflow's UI reads it."""
    tracker = MlflowTracker(uri)
    tracker.start_study("digits", {"objective": objective, "mode": "max"})
    tracker.close()
    envelope = json.loads(MlflowClient(uri).get_experiment(tracker.experiment_id).tags[VIEW_TAG])
    assert isinstance(envelope["name"], str)
    assert isinstance(envelope["createdAt"], int)
    kind, _, packed = envelope["state"].partition(";")
    assert kind == "deflate"
    return dict(json.loads(zlib.decompress(base64.b64decode(packed))))


def of_type(state: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [chart for chart in state["compareRunCharts"] if chart["type"] == kind]


def test_trials_are_grouped_by_batch_size_with_their_seeds_averaged_and_all_are_drawn(tracking_uri: str) -> None:
    state = written(tracking_uri, "val_accuracy")
    assert state["groupBy"] == {
        "aggregateFunction": "average",
        "groupByKeys": [{"mode": "param", "groupByData": "batch_size"}],
    }
    assert state["useGroupedValuesInCharts"]
    assert state["runsHiddenMode"] == "SHOW_ALL"


@pytest.mark.parametrize(
    ("objective", "drawn"), [("val_accuracy", ["val_accuracy", "loss"]), ("loss", ["loss", "val_loss"])]
)
def test_objective_and_loss_are_drawn_by_examples_seen(tracking_uri: str, objective: str, drawn: list[str]) -> None:
    lines = of_type(written(tracking_uri, objective), "LINE")
    assert [chart["metricKey"] for chart in lines] == drawn
    assert {chart["selectedXAxisMetricKey"] for chart in lines} == {"examples_seen"}


def test_every_batch_sizes_objective_throughput_and_memory_are_drawn(tracking_uri: str) -> None:
    state = written(tracking_uri, "val_accuracy")
    (scatter,), (parallel,) = of_type(state, "SCATTER"), of_type(state, "PARALLEL")
    assert (scatter["xaxis"]["key"], scatter["yaxis"]["key"]) == ("batch_size", "val_accuracy")
    assert [chart["metricKey"] for chart in of_type(state, "BAR")] == ["examples_per_second", "peak_memory_bytes"]
    assert parallel["selectedParams"] + parallel["selectedMetrics"] == ["batch_size", "learning_rate", "val_accuracy"]


def test_every_chart_is_in_a_section_that_is_shown_and_has_a_name_of_its_own(tracking_uri: str) -> None:
    state = written(tracking_uri, "val_accuracy")
    shown = {section["uuid"] for section in state["compareRunSections"] if section["display"]}
    assert {chart["metricSectionId"] for chart in state["compareRunCharts"]} == shown
    assert len({chart["uuid"] for chart in state["compareRunCharts"]}) == 6


def test_the_table_has_what_compares_trials(tracking_uri: str) -> None:
    assert written(tracking_uri, "val_accuracy")["selectedColumns"] == [
        "params.`batch_size`",
        "params.`learning_rate`",
        "params.`seed`",
        "tags.`batch_size.status`",
        "metrics.`val_accuracy`",
        "metrics.`examples_per_second`",
        "metrics.`peak_memory_bytes`",
    ]


def test_the_filter_of_the_view_finds_trials_only(tracking_uri: str) -> None:
    state = written(tracking_uri, "val_accuracy")
    tracker = MlflowTracker(tracking_uri)
    tracker.start_study("digits", {"objective": "val_accuracy"})
    for trial_id, stage in (("0", "search"), ("1", "confirm"), ("2", "reference")):
        tracker.start_trial(planned(trial_id, stage=stage))
    tracker.measured(Measurement("memory", {"batch_size": 8}, {"peak_memory_bytes": 1e9}))
    tracker.recommended({}, "8")
    tracker.close()
    found = MlflowClient(tracking_uri).search_runs([tracker.experiment_id], state["searchFilter"])
    assert sorted(run.data.tags["batch_size.trial_id"] for run in found) == ["0", "1", "2"]


def test_the_address_names_the_experiment_and_the_view() -> None:
    url = urlsplit(view_url("http://host:5000/", "17"))
    path, _, query = url.fragment.partition("?")
    assert (url.netloc, path) == ("host:5000", "/experiments/17/runs")
    assert VIEW_TAG.endswith(parse_qs(query)["viewStateShareKey"][0])
    assert parse_qs(query)["compareRunsMode"] == ["CHART"]


@pytest.fixture(scope="module")
def page() -> str:
    """Everything that MLflow's page runs in the browser."""
    folder = Path(environment.__file__).parent / "server" / "js" / "build" / "static" / "js"
    return "\n".join(path.read_text() for path in folder.glob("*.js"))


def keys_of(state: Any) -> set[str]:
    """Every key of an object and of the objects in it."""
    if isinstance(state, list):
        return set().union(*map(keys_of, state))
    if isinstance(state, dict):
        return set(state).union(*(keys_of(value) for value in state.values()))
    return set()


def test_the_page_shows_the_note_or_else_a_study_shows_no_recommendation(page: str) -> None:
    assert mlflow_private.NOTE in page


def test_the_page_knows_the_kind_of_experiment_or_else_it_asks_for_it(page: str) -> None:
    ((tag, kind),) = mlflow_private.EXPERIMENT_KIND.items()
    assert tag in page
    assert kind in page


def test_the_page_reads_saved_views_from_tags_or_else_there_is_none(page: str) -> None:
    assert VIEW_TAG.rpartition(".")[0] in page
    assert "deflate;" in page
    query = parse_qs(urlsplit(view_url("http://host", "1")).fragment.partition("?")[2])
    assert all(name in page for name in query)


@pytest.mark.parametrize("metric", ["val_accuracy", "loss"])
def test_the_page_knows_every_key_of_the_view_or_else_the_part_is_not_shown(page: str, metric: str) -> None:
    state = mlflow_private.page_state(metric, trial_tag="id", status_tag="status")
    keys = keys_of({name: value for name, value in state.items() if name != "columnWidths"})
    assert {key for key in keys if key not in page} == set()
    assert {chart["type"] for chart in state["compareRunCharts"]} == {"LINE", "SCATTER", "BAR", "PARALLEL"}


def test_a_sqlite_store_has_the_table_or_else_none_is_taken_for_one(migrated_store: Path) -> None:
    with closing(sqlite3.connect(migrated_store)) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    assert mlflow_private.STORE_TABLE in tables


def test_a_sqlite_store_tells_its_revision_or_else_each_new_one_is_migrated(migrated_store: Path) -> None:
    with closing(sqlite3.connect(migrated_store)) as connection:
        assert len(connection.execute(f"SELECT * FROM {mlflow_private.REVISION_TABLE}").fetchall()) == 1


def test_the_server_reads_its_environment_or_else_it_serves_another_store() -> None:
    given = mlflow_private.server_environment("sqlite:///x.db")
    assert given[environment.MLFLOW_SERVER_ENABLE_JOB_EXECUTION.name] == "false"
    command_line = (Path(environment.__file__).parent / "cli" / "__init__.py").read_text()
    assert 'envvar="MLFLOW_BACKEND_STORE_URI"' in command_line
    assert given["MLFLOW_BACKEND_STORE_URI"] == "sqlite:///x.db"


def test_the_client_reads_its_limits_or_else_a_lost_server_holds_the_search_for_minutes() -> None:
    with mlflow_private.client_limits(timeout_s=4, retries=1):
        assert environment.MLFLOW_HTTP_REQUEST_TIMEOUT.get() == 4
        assert environment.MLFLOW_HTTP_REQUEST_MAX_RETRIES.get() == 1
        assert not environment.MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.get()


def test_the_loggers_exist_or_else_errors_that_are_raised_are_printed_too() -> None:
    for name in mlflow_private.ERROR_LOGGERS:
        source = Path(environment.__file__).parents[1] / f"{name.replace('.', '/')}.py"
        assert "logging.getLogger(__name__)" in source.read_text()


@pytest.mark.parametrize("kind", [ConnectionError, RetryError])
def test_an_answer_that_never_came_is_found_behind_mlflows_own_error(kind: type[Exception]) -> None:
    error = MlflowException("API request failed")
    error.__context__ = kind("refused")
    assert mlflow_private.is_unanswered(error)
    assert mlflow_private.is_unanswered(error, retried=False) == (kind is ConnectionError)
    assert not mlflow_private.is_unanswered(MlflowException("no such run"))
