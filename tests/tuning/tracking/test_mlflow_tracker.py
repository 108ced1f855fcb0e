from __future__ import annotations

import json
import math
import sqlite3
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run, ViewType
from mlflow.exceptions import MlflowException
from requests.exceptions import ConnectionError

from tuning.tracking import layout, mlflow_tracker
from tuning.tracking.mlflow_tracker import MlflowTracker
from tuning.tracking.store import TrackingError, TrackingWarning
from tuning.tracking.tracker import NullTracker, Tracker
from tuning.trial import EpochReport, Status, TrialOutcome

SETTINGS = {"objective": "val_accuracy", "mode": "max"}


def started(uri: str, study: str = "digits") -> MlflowTracker:
    tracker = MlflowTracker(uri)
    tracker.start_study(study, SETTINGS)
    return tracker


def log_trial(tracker: Tracker, trial_id: str = "0", status: Status = Status.COMPLETED, batch_size: int = 32) -> None:
    tracker.start_trial(
        trial_id,
        {"batch_size": batch_size, "learning_rate": 0.001, "seed": 0, "epochs": 2, "loop": "auto", "units": 64},
        "search",
    )
    for epoch in (1, 2):
        metrics = {"loss": 1 / epoch, "val_accuracy": 0.4 * epoch}
        tracker.log_epoch(EpochReport(trial_id, epoch, 1000 * epoch, 31 * epoch, metrics, 0.5 * epoch))
    failed = status is not Status.COMPLETED
    tracker.end_trial(
        TrialOutcome(
            trial_id,
            status,
            reason="no memory left" if failed else "",
            log_tail="the last line" if failed else "",
            seconds=1.0,
            compile_seconds=0.5,
            examples_per_second=2100.0,
            peak_memory_bytes=10**9,
            loop="device",
            measurements={"steps_to_target": 40.0},
            settings={"dtype": "float32"},
        )
    )


def runs(tracker: MlflowTracker, view: int = ViewType.ACTIVE_ONLY) -> list[Run]:
    found = MlflowClient(tracker.tracking_uri).search_runs([tracker.experiment_id], run_view_type=view)
    return list(found)


def by_trial(tracker: MlflowTracker) -> dict[str, Run]:
    found = runs(tracker)
    named = {run.data.tags[layout.TRIAL_ID]: run for run in found}
    assert len(named) == len(found)
    return named


def test_a_trial_is_one_flat_run_with_everything(tracking_uri: str) -> None:
    tracker = started(tracking_uri)
    log_trial(tracker)
    (run,) = runs(tracker)
    assert run.info.run_name == "batch 32, lr 0.001, seed 0"
    assert run.info.status == "FINISHED"
    assert run.data.params == {
        "batch_size": "32",
        "learning_rate": "0.001",
        "seed": "0",
        "epochs": "2",
        "units": "64",
        "loop": "device",
        "dtype": "float32",
    }
    assert run.data.metrics == {
        "loss": 0.5,
        "val_accuracy": 0.8,
        "epoch": 2,
        "examples_seen": 2000,
        "updates": 62,
        "examples_per_second": 2100.0,
        "peak_memory_bytes": 10**9,
        "seconds": 1.0,
        "compile_seconds": 0.5,
        "steps_to_target": 40.0,
    }
    assert run.data.tags[layout.STATUS] == "completed"
    assert run.data.tags[layout.STAGE] == "search"
    assert "mlflow.parentRunId" not in run.data.tags


def test_a_charts_step_is_the_number_of_examples_seen(tracking_uri: str) -> None:
    tracker = started(tracking_uri)
    log_trial(tracker)
    history = MlflowClient(tracking_uri).get_metric_history(runs(tracker)[0].info.run_id, "loss")
    assert [(metric.step, metric.value) for metric in history] == [(1000, 1.0), (2000, 0.5)]


def test_two_trials_at_once_do_not_mix(tracking_uri: str) -> None:
    tracker = started(tracking_uri)
    for trial_id, batch_size in (("0", 8), ("1", 16)):
        tracker.start_trial(trial_id, {"batch_size": batch_size, "seed": 0}, "search")
    for epoch in (1, 2):
        for trial_id, loss in (("0", 1.0), ("1", 2.0)):
            tracker.log_epoch(EpochReport(trial_id, epoch, 100 * epoch, epoch, {"loss": loss / epoch}, epoch))
    for trial_id in ("1", "0"):
        tracker.end_trial(TrialOutcome(trial_id, Status.COMPLETED))
    found = by_trial(tracker)
    assert {name: run.data.metrics["loss"] for name, run in found.items()} == {"0": 0.5, "1": 1.0}
    assert {name: run.data.params["batch_size"] for name, run in found.items()} == {"0": "8", "1": "16"}


@pytest.mark.parametrize(
    ("status", "run_status"),
    [(Status.PRUNED, "KILLED"), (Status.OUT_OF_MEMORY, "FAILED"), (Status.DIVERGED, "FAILED")],
)
def test_a_trial_that_did_not_complete_keeps_its_reason_and_its_log(
    tracking_uri: str, status: Status, run_status: str
) -> None:
    tracker = started(tracking_uri)
    log_trial(tracker, status=status)
    (run,) = runs(tracker)
    assert (run.info.status, run.data.tags[layout.STATUS]) == (run_status, status.value)
    assert run.data.tags[layout.REASON] == "no memory left"
    assert "no memory left" in run.data.tags[layout.NOTE]
    path = MlflowClient(tracking_uri).download_artifacts(run.info.run_id, layout.LOG_TAIL)
    assert Path(path).read_text() == "the last line"


def test_a_loss_that_is_no_number_is_recorded_as_nan(tracking_uri: str) -> None:
    tracker = started(tracking_uri)
    tracker.start_trial("0", {"batch_size": 8, "seed": 0}, "search")
    tracker.log_epoch(EpochReport("0", 1, 100, 12, {"loss": math.nan, "val_loss": math.inf}, 1.0))
    tracker.end_trial(TrialOutcome("0", Status.DIVERGED, "loss is NaN"))
    (run,) = runs(tracker)
    assert math.isnan(run.data.metrics["loss"])
    assert math.isnan(run.data.metrics["val_loss"])


def test_the_experiment_says_what_was_asked_for_and_keeps_artifacts_beside_the_store(tracking_uri: str) -> None:
    tracker = started(tracking_uri, "digits / größe")
    experiment = MlflowClient(tracking_uri).get_experiment_by_name("digits / größe")
    assert experiment.experiment_id == tracker.experiment_id
    assert experiment.tags[f"{layout.SETTINGS}objective"] == "val_accuracy"
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    log_trial(tracker, status=Status.FAILED)
    folder = Path(tracking_uri.removeprefix("sqlite:///")).parent / "mlartifacts"
    assert [path.name for path in folder.rglob("*.txt")] == [layout.LOG_TAIL]


def test_a_second_search_of_the_same_name_continues_the_experiment(tracking_uri: str) -> None:
    first = started(tracking_uri)
    log_trial(first, "0")
    second = started(tracking_uri)
    log_trial(second, "1")
    assert second.experiment_id == first.experiment_id
    assert sorted(by_trial(second)) == ["0", "1"]


def test_an_experiment_of_another_program_is_left_alone(tracking_uri: str) -> None:
    client = MlflowClient(tracking_uri)
    client.create_run(client.create_experiment("theirs"))
    client.create_experiment("empty")
    with pytest.raises(TrackingError, match=r"'theirs' holds runs of another program. Choose another name"):
        started(tracking_uri, "theirs")
    assert started(tracking_uri, "empty").experiment_id == client.get_experiment_by_name("empty").experiment_id


def test_starting_over_destroys_nothing(tracking_uri: str) -> None:
    for _ in range(3):
        tracker = MlflowTracker(tracking_uri)
        tracker.fresh("digits")
        tracker.start_study("digits", SETTINGS)
        log_trial(tracker)
    client = MlflowClient(tracking_uri)
    names = {each.name: each.experiment_id for each in client.search_experiments() if each.name != "Default"}
    assert len(names) == 3
    assert sum(name.startswith("digits (until 2") for name in names) == 2
    assert all(len(client.search_runs([experiment_id])) == 1 for experiment_id in names.values())


def test_a_study_in_the_trash_gives_its_name_away(tracking_uri: str) -> None:
    first = started(tracking_uri)
    client = MlflowClient(tracking_uri)
    client.delete_experiment(first.experiment_id)
    second = started(tracking_uri)
    assert second.experiment_id != first.experiment_id
    old = client.get_experiment(first.experiment_id)
    assert old.name.startswith("digits (deleted 2")
    assert old.lifecycle_stage == "deleted"


def test_nothing_exists_before_a_study_starts(tmp_path: Path) -> None:
    tracker = MlflowTracker(f"sqlite:///{tmp_path}/mlflow.db")
    tracker.fresh("digits")
    assert list(tmp_path.iterdir()) == []


def test_a_killed_drivers_trials_become_interrupted_and_are_replaced(tracking_uri: str) -> None:
    killed = started(tracking_uri)
    log_trial(killed, "0")
    killed.start_trial("1", {"batch_size": 8, "seed": 0}, "search")  # the search knows: it ended, unrecorded
    killed.start_trial("2", {"batch_size": 16, "seed": 0}, "search")  # killed while it ran
    log_trial(killed, "3")  # recorded here, but not yet there
    resumed = started(tracking_uri)
    resumed.reconcile(finished={"0", "1", "4"}, interrupted={"2", "3"})
    assert resumed.missing({"0", "1", "4"}) == {"1", "4"}
    found = by_trial(resumed)
    for trial_id in ("2", "3"):
        assert found[trial_id].data.tags[layout.STATUS] == "interrupted"
        assert found[trial_id].info.status == "KILLED"
    for trial_id in ("1", "4", "5"):
        log_trial(resumed, trial_id)
    completed = [run for run in by_trial(resumed).values() if run.data.tags[layout.STATUS] == "completed"]
    assert sorted(run.data.tags[layout.TRIAL_ID] for run in completed) == ["0", "1", "4", "5"]


def test_doubled_runs_of_a_trial_become_one(tracking_uri: str) -> None:
    tracker = started(tracking_uri)
    log_trial(tracker, "0")
    MlflowClient(tracking_uri).create_run(tracker.experiment_id, tags={layout.TRIAL_ID: "0"})
    resumed = started(tracking_uri)
    resumed.reconcile({"0"}, set())
    assert by_trial(resumed)["0"].data.tags[layout.STATUS] == "completed"
    assert resumed.missing({"0"}) == set()


def test_a_new_recommendation_replaces_the_earlier_one(tracking_uri: str) -> None:
    tracker = started(tracking_uri)
    for batch_size in (32, 64):
        tracker.log_recommendation(
            {"recommended_batch_size": batch_size},
            f"Use **{batch_size}**",
            {"report.html": "<p>", "plots/quality.png": b"\x89PNG"},
        )
    (run,) = runs(tracker)
    client = MlflowClient(tracking_uri)
    folder = Path(client.download_artifacts(run.info.run_id, ""))
    assert (run.info.run_name, run.info.status) == ("recommendation", "FINISHED")
    assert json.loads((folder / "recommendation.json").read_text()) == {"recommended_batch_size": 64}
    assert (folder / "report.md").read_text() == "Use **64**"
    assert (folder / "plots" / "quality.png").read_bytes() == b"\x89PNG"
    description = client.get_experiment(tracker.experiment_id).tags[layout.NOTE]
    assert description.startswith("Use **64**\n")
    assert run.info.run_id in description


class FlakyClient(MlflowClient):
    """A client whose server can be taken away, also after it has done what it was asked."""

    gone = False
    answers_get_lost = False

    def __getattribute__(self, name: str) -> Any:
        method = super().__getattribute__(name)
        if name not in ("create_run", "log_batch", "log_text", "set_terminated", "search_runs", "log_artifacts"):
            return method

        def call(*args: Any, **kwargs: Any) -> Any:
            if type(self).gone:
                self.fail()
            answer = method(*args, **kwargs)
            if type(self).answers_get_lost:
                self.fail()
            return answer

        return call

    def fail(self) -> None:
        try:
            raise ConnectionError("connection refused")
        except ConnectionError:
            raise MlflowException("API request failed") from None


@pytest.fixture
def flaky(monkeypatch: pytest.MonkeyPatch) -> type[FlakyClient]:
    """Trackers made meanwhile use a client whose server can be taken away."""

    class ThisTestsClient(FlakyClient):
        pass

    monkeypatch.setattr(mlflow_tracker, "connect", lambda uri, **_: ThisTestsClient(uri))
    return ThisTestsClient


class Clock:
    now = 0.0

    def __call__(self) -> float:
        self.now += 100
        return self.now


@pytest.mark.parametrize("how", ["gone", "answers_get_lost"])
@pytest.mark.parametrize("back_after", [1, 4])
def test_a_server_that_goes_away_and_comes_back_has_everything_once(
    tracking_uri: str, flaky: type[FlakyClient], how: str, back_after: int
) -> None:
    tracker = MlflowTracker(tracking_uri, clock=Clock())
    tracker.start_study("digits", SETTINGS)
    log_trial(tracker, "0")

    def search_on() -> None:
        for trial_id in range(1, back_after):
            log_trial(tracker, str(trial_id), status=Status.FAILED)
        tracker.start_trial(str(back_after), {"batch_size": 8, "seed": 0}, "search")

    setattr(flaky, how, True)
    with pytest.warns(TrackingWarning, match=r"does not answer; the search goes on") as caught:
        search_on()
    assert len(caught) == 1
    setattr(flaky, how, False)
    tracker.end_trial(TrialOutcome(str(back_after), Status.COMPLETED))
    found = by_trial(tracker)
    assert sorted(found, key=int) == [str(number) for number in range(back_after + 1)]
    assert "RUNNING" not in {run.info.status for run in found.values()}
    assert all("batch_size" in run.data.params for run in found.values())


def test_what_never_reached_the_server_is_told_and_sent_by_the_next_search(
    tracking_uri: str, flaky: type[FlakyClient]
) -> None:
    tracker = started(tracking_uri)
    flaky.gone = True
    with pytest.warns(TrackingWarning, match=r"the search goes on"):
        log_trial(tracker, "0")
    with pytest.warns(TrackingWarning, match=r"5 writes did not reach MLflow .* start the same search again"):
        tracker.flush()
    flaky.gone = False
    resumed = started(tracking_uri)
    assert resumed.missing({"0"}) == {"0"}
    log_trial(resumed, "0")
    assert by_trial(resumed)["0"].info.status == "FINISHED"
    assert started(tracking_uri).missing({"0"}) == set()


def test_a_refused_write_is_told_at_the_end_and_holds_nothing_up(tracking_uri: str) -> None:
    tracker = started(tracking_uri)
    tracker.start_trial("0", {"batch_size": 8, "seed": 0}, "search")
    MlflowClient(tracking_uri).delete_run(runs(tracker)[0].info.run_id)  # by hand, in the UI
    tracker.end_trial(TrialOutcome("0", Status.COMPLETED))
    log_trial(tracker, "1")
    with pytest.warns(TrackingWarning, match=r"MLflow refused 2 writes; the first: .*must be in the 'active' state"):
        tracker.flush()
    assert list(by_trial(tracker)) == ["1"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tracker.flush()


def test_a_store_that_cannot_be_read_is_one_error(tracking_uri: str) -> None:
    path = tracking_uri.removeprefix("sqlite:///")
    tracker = MlflowTracker(tracking_uri)
    connection = sqlite3.connect(path)
    connection.execute("DROP TABLE experiment_tags")
    connection.close()
    with pytest.raises(TrackingError, match=r"mlflow.db") as caught:
        tracker.start_study("digits", SETTINGS)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("make", [NullTracker, None])
def test_trackers_share_one_face(tracking_uri: str, make: Callable[[], Tracker] | None) -> None:
    tracker: Tracker = make() if make else MlflowTracker(tracking_uri)
    tracker.fresh("digits")
    tracker.start_study("digits", SETTINGS)
    tracker.reconcile([], [])
    assert tracker.missing([]) == set()
    log_trial(tracker)
    tracker.log_recommendation({}, "none")
    tracker.flush()
    assert bool(tracker.experiment_id) == bool(tracker.tracking_uri)
