"""What a report is made of, from MLflow alone and at the end of a search."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_study import BATCH_SIZES, record_example
from fakes import ScriptedExecutor
from mlflow import MlflowClient

from search_spaces import BatchSize
from search_spaces.data import Data
from tuning.cli import main
from tuning.machine.advice import TrainingAdvice
from tuning.record import layout
from tuning.record.mlflow_tracker import MlflowTracker
from tuning.record.reading import read_foreign
from tuning.record.store import TrackingError
from tuning.search.options import SearchArguments
from tuning.show.evidence import evidence_from, evidence_of_search, evidence_of_study
from tuning.show.page import render_report
from tuning.tuners import GridSearch


@pytest.fixture
def store(tmp_path: Path, mlflow_store: Callable[[Path], str]) -> str:
    return mlflow_store(tmp_path)


def artifact(uri: str, study: str, name: str, folder: Path) -> str:
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(study)
    run = client.search_runs([experiment.experiment_id], "tags.`batch_size.stage` = 'recommendation'")[0]
    return Path(client.download_artifacts(run.info.run_id, name, str(folder))).read_text()


def test_a_recorded_study_has_a_report_from_mlflow_alone(store: str, tmp_path: Path) -> None:
    record_example(MlflowTracker(store))
    found = evidence_of_study(store, None)
    assert found.answer.study == "digits-grid"
    assert len(found.trials) == 21
    page = tmp_path / "page.html"
    assert main(["report", "--tracking-uri", store, "-o", str(page)]) == 0
    told = page.read_text()
    assert found.answer.recommendation.reasons[0] in told
    assert "1 × out of memory: the worker was killed" in told
    assert told.count("<svg") == 8 + 3  # its trainings have eight epochs, enough for all of their course


def test_a_search_leaves_its_report_with_the_recommendation(store: str, tmp_path: Path) -> None:
    executor = ScriptedExecutor(
        lambda request: [1 - 1 / math.sqrt(epoch * request.batch_size) for epoch in (1, 2, 3)],
        probes=lambda request: _throughput(request),
    )
    tuner = GridSearch(
        lambda _hp: None,
        batch_size=BatchSize.of(8, 32),
        seeds=2,
        directory=tmp_path,
        project_name="scripted",
        tracking_uri=store,
        quiet=True,
    )
    x, y = np.zeros((64, 2), "float32"), np.zeros(64, "float32")
    tuner.run(SearchArguments(Data(x, y, x, y), epochs=3), executor)
    told = artifact(store, "scripted", "report.html", tmp_path)
    assert tuner.recommend().reasons[0] in told
    assert "<dt>python</dt>" in told
    again = evidence_of_study(store, "scripted")
    assert again.answer.advice is not None
    assert again.answer.advice == tuner.answer.advice  # read back from the recommendation
    assert str(tmp_path) not in render_report(again)


def test_a_staged_search_is_reported_by_the_target_and_the_throughput_it_judged_by(store: str) -> None:
    tracker = MlflowTracker(store)
    record_example(tracker)
    rates = {size: 1000.0 * size for size in BATCH_SIZES}
    judged = {
        layout.TARGET: "0.6",
        layout.THROUGHPUT: json.dumps(rates),
        layout.THROUGHPUT_ERRORS: json.dumps(dict.fromkeys(rates, 0.02)),
    }
    tracker.start_study("digits-grid", {"objective": "val_accuracy", "mode": "max", **judged})
    tracker.close()
    found = evidence_of_study(store, "digits-grid")
    assert (found.target, found.throughput) == (0.6, rates)
    assert evidence_of_study(store, "digits-grid", target=0.5).target == 0.5
    told = render_report(found)
    assert "The target is val_accuracy 0.600." in told
    assert "seconds to the target" in told
    assert layout.THROUGHPUT.replace("_", " ") not in told


@pytest.mark.parametrize("other", [0, 1])
def test_advice_for_another_batch_size_is_not_given(store: str, other: int) -> None:
    tracker = MlflowTracker(store)
    record_example(tracker)
    picked = evidence_of_study(store, None).answer.recommendation.batch_size
    advice = TrainingAdvice(picked + other, "device", 45, False, 4e4, 1e4)
    tracker.recommended({"training": asdict(advice)}, "again")
    tracker.close()
    assert evidence_of_study(store, None).answer.advice == (None if other else advice)


def test_foreign_runs_have_a_report(store: str) -> None:
    client = MlflowClient(store)
    experiment = client.create_experiment("foreign")
    for size, score in ((16, 0.9), (16, 0.91), (64, 0.95), (64, 0.94)):
        run = client.create_run(experiment)
        client.log_param(run.info.run_id, "bs", size)
        client.log_metric(run.info.run_id, "val_accuracy", score)
        client.set_terminated(run.info.run_id)
    found = evidence_from(read_foreign(store, "foreign", param="bs", metric="val_accuracy"), {})
    told = render_report(found)
    assert "batch size of 64" in told
    assert "Learning curves by examples seen: No training logged" in told


def test_a_server_that_is_gone_costs_only_the_probe() -> None:
    from example_evidence import ACCURACY, evidence, trials

    answer = evidence().answer
    gone = type(answer)(answer.recommendation, "s", "http://127.0.0.1:9", "1")
    found = evidence_of_search(gone, trials(), objective=ACCURACY, target=None, settings={})
    assert not found.measurements.examples_per_second


def test_a_report_needs_a_folder_a_study_and_a_metric(store: str, tmp_path: Path) -> None:
    for more, told in (
        (("-o", str(tmp_path / "absent" / "page.html")), "--output must name a file"),
        (("-o", str(tmp_path)), "--output must name a file"),
        (("--experiment", "foreign"), "--experiment needs --metric"),
    ):
        assert main(["report", "--tracking-uri", store, *more]) == 2, told
    with pytest.raises(TrackingError, match="holds no study yet"):
        evidence_of_study(store, None)


def _throughput(request: Any) -> Any:
    from tuning.messages import Throughput

    return Throughput(request.trial_id, request.batch_size, request.loop, 0.001)
