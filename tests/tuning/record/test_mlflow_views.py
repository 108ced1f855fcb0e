"""The saved views of a study: what they show, and that the installed MLflow knows the names that they are made of."""

from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import mlflow.environment_variables as environment
import pytest
from mlflow import MlflowClient
from tracker_helpers import log_trial, planned

from tuning.messages import Measurement
from tuning.record.layout import TARGET
from tuning.record.mlflow_tracker import MlflowTracker
from tuning.record.mlflow_views import ALL_VIEW_TAG, EVERYTHING, VIEW_TAG, view_url

VIEWS = (VIEW_TAG, ALL_VIEW_TAG)
NUMBERS = {"log2_batch_size": 5.0, "score": 0.9123, "mean": 0.91}


def written(uri: str, tag: str = VIEW_TAG, **settings: str) -> dict[str, Any]:
    """The page's state, read from the experiment's tag as MLflow's UI reads it."""
    tracker = MlflowTracker(uri)
    tracker.start_study("digits", {"objective": "val_accuracy", "mode": "max", **settings})
    tracker.close()
    envelope = json.loads(MlflowClient(uri).get_experiment(tracker.experiment_id).tags[tag])
    assert isinstance(envelope["name"], str)
    assert isinstance(envelope["createdAt"], int)
    kind, _, packed = envelope["state"].partition(";")
    assert kind == "deflate"
    return dict(json.loads(zlib.decompress(base64.b64decode(packed))))


def scatters(state: dict[str, Any]) -> list[tuple[str, str]]:
    charts = [chart for chart in state["compareRunCharts"] if chart["type"] == "SCATTER"]
    return [(chart["xaxis"]["key"], chart["yaxis"]["key"]) for chart in charts]


@pytest.mark.parametrize("tag", VIEWS)
def test_every_run_is_drawn_on_its_own(tracking_uri: str, tag: str) -> None:
    state = written(tracking_uri, tag)
    assert state["groupBy"] is None
    assert not state["useGroupedValuesInCharts"]
    assert state["runsHiddenMode"] == "SHOW_ALL"


@pytest.mark.parametrize("tag", VIEWS)
@pytest.mark.parametrize(
    ("objective", "drawn"), [("val_accuracy", ["val_accuracy", "loss"]), ("loss", ["loss", "val_loss"])]
)
def test_objective_and_loss_are_drawn_by_examples_seen(
    tracking_uri: str, tag: str, objective: str, drawn: list[str]
) -> None:
    state = written(tracking_uri, tag, objective=objective)
    lines = [chart for chart in state["compareRunCharts"] if chart["type"] == "LINE"]
    assert [chart["metricKey"] for chart in lines] == drawn
    assert {chart["selectedXAxisMetricKey"] for chart in lines} == {"examples_seen"}


def test_what_decided_is_drawn_by_the_logarithm_of_the_batch_size_with_the_table_s_numbers(tracking_uri: str) -> None:
    place, shown = "answer/log2_batch_size", ["score", "mean", "examples_per_second", "peak_memory_mib"]
    assert scatters(written(tracking_uri)) == [(place, f"answer/{name}") for name in shown]
    shown.insert(2, "seconds_to_target")
    state = written(tracking_uri, **{TARGET: "0.9"})
    assert scatters(state) == [(place, f"answer/{name}") for name in shown]
    assert "metrics.`answer/standard_error`" in state["selectedColumns"]


def test_all_trials_are_drawn_with_what_they_measured_and_listed_with_how_they_ended(tracking_uri: str) -> None:
    state = written(tracking_uri, ALL_VIEW_TAG)
    measured = ["val_accuracy", "examples_per_second", "peak_memory_bytes"]
    assert scatters(state) == [("batch_size", name) for name in measured]
    assert {"tags.`batch_size.status`", "tags.`batch_size.stage`"} < set(state["selectedColumns"])


@pytest.mark.parametrize("tag", VIEWS)
def test_every_chart_is_in_a_section_that_is_shown_and_has_a_name_of_its_own(tracking_uri: str, tag: str) -> None:
    state = written(tracking_uri, tag)
    shown = {section["uuid"] for section in state["compareRunSections"] if section["display"]}
    assert {chart["metricSectionId"] for chart in state["compareRunCharts"]} == shown
    assert len({chart["uuid"] for chart in state["compareRunCharts"]}) == len(state["compareRunCharts"])


def test_one_view_finds_what_decided_by_now_and_the_other_all_trials(tracking_uri: str) -> None:
    filters = [written(tracking_uri, tag)["searchFilter"] for tag in VIEWS]
    tracker = MlflowTracker(tracking_uri)
    tracker.start_study("digits", {"objective": "val_accuracy"})
    for trial_id, stage in (("0", "search"), ("1", "confirm"), ("2", "reference")):
        tracker.start_trial(planned(trial_id, stage=stage))
    tracker.measured(Measurement("memory", {"batch_size": 8}, {"peak_memory_bytes": 1e9}))
    for deciding in ("0", "1"):
        tracker.recommended({}, "8", deciding={deciding: NUMBERS})
        tracker.close()  # so that both are written
        tracker.start_study("digits", {"objective": "val_accuracy"})
    tracker.close()
    client = MlflowClient(tracking_uri)
    found = [client.search_runs([tracker.experiment_id], text) for text in filters]
    trials = [sorted(run.data.tags["batch_size.trial_id"] for run in runs) for runs in found]
    assert trials == [["1"], ["0", "1", "2"]]
    (run,) = found[0]
    assert {name: value for name, value in run.data.metrics.items() if name.startswith("answer/")} == {
        f"answer/{name}": value for name, value in NUMBERS.items()
    }


def test_a_run_that_arrives_after_the_answer_is_marked_too(tracking_uri: str) -> None:
    tracker = MlflowTracker(tracking_uri)
    tracker.start_study("digits", {"objective": "val_accuracy"})
    tracker.recommended({}, "8", deciding={"0": NUMBERS})
    tracker.close()
    tracker.start_study("digits", {"objective": "val_accuracy"})
    tracker.recommended({}, "8", deciding={"0": NUMBERS})
    log_trial(tracker, "0")
    tracker.close()
    (run,) = MlflowClient(tracking_uri).search_runs([tracker.experiment_id], "tags.`batch_size.decides` = 'true'")
    assert run.data.metrics["answer/score"] == 0.9123


def test_the_address_names_the_experiment_and_the_view() -> None:
    for view_id, address in (("batch-size", view_url("http://host:5000/", "17")), (EVERYTHING, "")):
        url = urlsplit(address or view_url("http://host:5000", "17", EVERYTHING))
        path, _, query = url.fragment.partition("?")
        assert (url.netloc, path) == ("host:5000", "/experiments/17/runs")
        assert parse_qs(query)["viewStateShareKey"] == [view_id]
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


def test_the_page_reads_saved_views_from_tags_or_else_there_is_none(page: str) -> None:
    assert VIEW_TAG.rpartition(".")[0] in page
    assert "deflate;" in page
    query = parse_qs(urlsplit(view_url("http://host", "1")).fragment.partition("?")[2])
    assert all(name in page for name in query)


@pytest.mark.parametrize("tag", VIEWS)
def test_the_page_knows_every_key_of_a_view_or_else_the_part_is_not_shown(
    page: str, tracking_uri: str, tag: str
) -> None:
    state = written(tracking_uri, tag)
    keys = keys_of({name: value for name, value in state.items() if name != "columnWidths"})
    assert {key for key in keys if key not in page} == set()
    assert {chart["type"] for chart in state["compareRunCharts"]} == {"LINE", "SCATTER", "PARALLEL"}
