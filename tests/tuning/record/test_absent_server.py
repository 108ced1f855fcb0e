"""A study begins while its server is away, or lets nobody in; the experiment is opened by whoever writes first."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from fakes_mlflow import SERVER, FlakyClient
from mlflow import MlflowClient
from mlflow.entities import Run, ViewType
from tracker_helpers import SETTINGS, log_trial, planned, started, told_later

from tuning.messages import Measurement
from tuning.record import layout
from tuning.record.mlflow_tracker import MlflowTracker
from tuning.record.owed import OwedFolder
from tuning.record.run_writers import StudyRuns
from tuning.record.store import TrackingError, TrackingWarning
from tuning.trial import EpochReport, Status, TrialOutcome


@pytest.fixture
def server(tracking_uri: str, flaky: type[FlakyClient]) -> type[FlakyClient]:
    """A server at `SERVER`, which is away; attributes of its client bring it back."""
    flaky.behind, flaky.gone = tracking_uri, True
    return flaky


def begun(study: str = "digits", outbox: Path | None = None, *, fresh: bool = False) -> MlflowTracker:
    """A tracker that has begun a study without its server."""
    with pytest.warns(TrackingWarning, match=r"^MLflow at http://mlflow\.example:5000 .*; the search starts all the"):
        tracker = MlflowTracker(SERVER, outbox=outbox)
    if fresh:
        tracker.fresh(study)
    tracker.start_study(study, SETTINGS)
    assert tracker.experiment_id == ""
    return tracker


@contextmanager
def earlier(server: type[FlakyClient]) -> Iterator[MlflowTracker]:
    """An earlier process recorded the study while the server was there."""
    server.gone = False
    tracker = started(SERVER)
    yield tracker
    tracker.close()
    server.gone = True


def recorded(server: type[FlakyClient], study: str = "digits", view: int = ViewType.ACTIVE_ONLY) -> list[Run]:
    client = MlflowClient(server.behind)
    experiment = client.get_experiment_by_name(study)
    return list(client.search_runs([experiment.experiment_id], run_view_type=view))


def ended(found: Sequence[Run]) -> dict[str, str]:
    """How the trials ended that runs show, by id."""
    return {run.data.tags[layout.TRIAL_ID]: run.data.tags[layout.STATUS] for run in found}


def again(tracker: MlflowTracker, trial_id: str) -> None:
    """Log a trial that ended in an earlier process."""
    outcome = TrialOutcome(trial_id, Status.COMPLETED)
    report = EpochReport(trial_id, 2, 2000, 62, {"loss": 0.5, "val_accuracy": 0.8}, 1.0)
    tracker.start_trial(replace(planned(trial_id), reports=(report,), outcome=outcome))
    tracker.epoch(report)
    tracker.end_trial(outcome)


def test_what_was_recorded_without_the_server_reaches_it_when_it_is_back(server: type[FlakyClient]) -> None:
    tracker = begun()
    tracker.reconcile([], [])
    assert tracker.missing({"0": 2}) == {"0"}
    with told_later():
        log_trial(tracker, "0")
        tracker.measured(Measurement("memory", {}, {"limit": 1.0}))
    server.gone = False
    log_trial(tracker, "1")
    tracker.close()
    assert {run.info.run_name for run in recorded(server)} == {"memory", "batch 32, lr 0.001, seed 0"}
    assert ended([run for run in recorded(server) if layout.TRIAL_ID in run.data.tags]) == {
        "0": "completed",
        "1": "completed",
    }
    assert tracker.experiment_id
    assert tracker.missing({"0": 2, "1": 2}) == set()
    settings = MlflowClient(server.behind).get_experiment(tracker.experiment_id).tags
    assert settings[f"{layout.SETTINGS}objective"] == "val_accuracy"


def test_a_server_that_goes_away_after_it_has_answered_is_no_error_either(server: type[FlakyClient]) -> None:
    server.gone = False
    tracker = MlflowTracker(SERVER)
    server.gone = True
    with pytest.warns(TrackingWarning, match=r"does not answer; the search starts all the same"):
        tracker.start_study("digits", SETTINGS)
    server.gone = False
    log_trial(tracker, "0")
    tracker.close()
    assert ended(recorded(server)) == {"0": "completed"}


def test_a_token_that_has_expired_before_the_start_is_named(server: type[FlakyClient]) -> None:
    server.gone, server.denies = False, True
    with pytest.warns(
        TrackingWarning, match=r"refuses the token or password; renew .*; the search starts all the same"
    ):
        tracker = MlflowTracker(SERVER)
    tracker.start_study("digits", SETTINGS)
    server.denies = False
    log_trial(tracker, "0")
    tracker.close()
    assert ended(recorded(server)) == {"0": "completed"}


def test_what_the_server_holds_is_not_written_twice(server: type[FlakyClient]) -> None:
    with earlier(server) as tracker:
        log_trial(tracker, "0")
    tracker = begun()
    tracker.reconcile(["0", "1"], [])
    assert tracker.missing({"0": 2, "1": 2}) == {"0", "1"}
    with told_later():
        again(tracker, "0")
        again(tracker, "1")
    server.gone = False
    tracker.close()
    assert ended(recorded(server, view=ViewType.ALL)) == {"0": "completed", "1": "completed"}
    assert len(recorded(server, view=ViewType.ALL)) == 2  # none in the trash


def test_a_run_that_a_killed_driver_left_is_ended_when_the_server_is_back(server: type[FlakyClient]) -> None:
    with earlier(server) as tracker:
        tracker.start_trial(planned("0"))
    tracker = begun()
    tracker.reconcile([], ["0"])
    server.gone = False
    tracker.measured(Measurement("memory"))
    tracker.close()
    assert ended([run for run in recorded(server) if layout.TRIAL_ID in run.data.tags]) == {"0": "interrupted"}


@pytest.mark.parametrize("ends_before", [True, False])
def test_a_study_that_starts_over_sets_the_earlier_one_aside_when_the_server_is_back(
    server: type[FlakyClient], tmp_path: Path, ends_before: bool
) -> None:
    with earlier(server) as tracker:
        log_trial(tracker, "0")
    tracker = begun(outbox=tmp_path / "outbox", fresh=True)
    if ends_before:  # the next process goes on without starting over
        with told_later():
            tracker.close()
        tracker = begun(outbox=tmp_path / "outbox")
    server.gone = False
    log_trial(tracker, "1")
    tracker.close()
    assert ended(recorded(server)) == {"1": "completed"}
    names = [each.name for each in MlflowClient(server.behind).search_experiments()]
    assert sum(name.startswith("digits (until ") for name in names) == 1
    assert not OwedFolder(tmp_path / "outbox").has_started_over


def test_an_experiment_of_another_program_is_left_alone_and_named_at_the_end(server: type[FlakyClient]) -> None:
    client = MlflowClient(server.behind)
    client.create_run(client.create_experiment("digits"))
    tracker = begun()
    with told_later():
        log_trial(tracker, "0")
    server.gone = False
    deadline = time.monotonic() + 10
    while len(tracker._outbox) and time.monotonic() < deadline:
        time.sleep(0.01)
    refused = r"refused (settings, trial 0|trial 0, settings); the first: .* runs of another program"
    with pytest.warns(TrackingWarning, match=refused):
        tracker.close()
    assert len(recorded(server)) == 1


def test_a_server_that_must_be_there_is_an_error(server: type[FlakyClient]) -> None:
    with pytest.raises(TrackingError, match=r"does not answer: no connection"):
        MlflowTracker(SERVER, may_be_away=False)


def test_an_address_at_which_something_else_answers_is_an_error(server: type[FlakyClient]) -> None:
    server.gone, server.is_something_else = False, True
    with pytest.raises(TrackingError, match=r"no such page"):
        MlflowTracker(SERVER)


def test_reconciling_that_is_cut_off_begins_with_what_the_store_holds_then(server: type[FlakyClient]) -> None:
    server.gone = False
    tracker = started(server.behind)
    tracker.close()
    client = MlflowClient(server.behind)
    for _ in range(3):
        client.create_run(tracker.experiment_id, tags={layout.TRIAL_ID: "0"})
    deleted: list[str] = []

    class Stumbling(MlflowClient):
        def delete_run(self, run_id: str) -> None:
            if len(deleted) == 1:
                deleted.append("none")
                raise ConnectionError
            super().delete_run(run_id)
            deleted.append(run_id)

    stumbling = Stumbling(server.behind)
    runs = StudyRuns(lambda: stumbling, lambda _: tracker.experiment_id)
    runs.reconcile_with([], ["0"])
    with pytest.raises(ConnectionError):
        runs.opened()
    runs.opened()
    assert ended(recorded(server)) == {"0": "interrupted"}
    assert len(set(deleted)) == len(deleted) == 3
