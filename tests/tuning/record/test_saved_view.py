from __future__ import annotations

import base64
import json
import zlib
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from mlflow import MlflowClient
from study_helpers import trial_named

from tuning.record.mlflow_tracker import MlflowTracker
from tuning.record.saved_view import TAG, view_url
from tuning.trial import Measurement


def written(uri: str, objective: str) -> dict[str, Any]:
    """The page's state, read from the experiment's tag as MLflow's UI reads it."""
    tracker = MlflowTracker(uri)
    tracker.start_study("digits", {"objective": objective, "mode": "max"})
    envelope = json.loads(MlflowClient(uri).get_experiment(tracker.experiment_id).tags[TAG])
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
    for trial_id, stage in (("0", "search"), ("1", "confirm")):
        tracker.start_trial(trial_named(trial_id, {"batch_size": 8, "seed": 0}, stage))
    tracker.measured(Measurement("memory", {"batch_size": 8}))
    tracker.recommended({}, "8")
    found = MlflowClient(tracking_uri).search_runs([tracker.experiment_id], state["searchFilter"])
    assert sorted(run.data.tags["batch_size.trial_id"] for run in found) == ["0", "1"]


def test_the_address_names_the_experiment_and_the_view() -> None:
    url = urlsplit(view_url("http://host:5000/", "17"))
    path, _, query = url.fragment.partition("?")
    assert (url.netloc, path) == ("host:5000", "/experiments/17/runs")
    assert TAG.endswith(parse_qs(query)["viewStateShareKey"][0])
    assert parse_qs(query)["compareRunsMode"] == ["CHART"]
