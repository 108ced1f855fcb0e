"""A server that goes away, refuses, or cannot be read costs no trial its record."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from fakes_mlflow import FlakyClient
from mlflow import MlflowClient
from tracker_helpers import SETTINGS, by_trial, log_trial, planned, runs, started, told_later

from tuning.record import layout
from tuning.record.mlflow_tracker import MlflowTracker
from tuning.record.reading import read_study
from tuning.record.store import TrackingError, TrackingWarning
from tuning.trial import EpochReport, Status, TrialOutcome


def wait_for(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def history(tracker: MlflowTracker, name: str) -> dict[str, list[tuple[int, float]]]:
    """Every trial's values of a metric with their steps."""
    client = MlflowClient(tracker.tracking_uri)
    return {
        trial_id: [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, name)]
        for trial_id, run in by_trial(tracker).items()
    }


@pytest.mark.parametrize("how", ["gone", "answers_get_lost"])
def test_a_server_that_goes_away_and_comes_back_has_everything_once(
    tracking_uri: str, flaky: type[FlakyClient], how: str
) -> None:
    tracker = started(tracking_uri)
    log_trial(tracker, "0")
    wait_for(lambda: not tracker.missing({"0": 2}) and "trial 0" not in tracker._outbox.owed())
    setattr(flaky, how, True)
    tracker.start_trial(planned("4", 8))
    wait_for(lambda: tracker._outbox.failures >= 3)
    with pytest.warns(TrackingWarning, match=r"does not answer; the search goes on"):
        tracker.epoch(EpochReport("4", 1, 1000, 31, {"loss": 1.0}, 0.5))
    tracker.epoch(EpochReport("4", 2, 2000, 62, {"loss": 0.5}, 1.0))  # warns no more
    for trial_id in "123":
        log_trial(tracker, trial_id, status=Status.FAILED)
    setattr(flaky, how, False)
    tracker.end_trial(TrialOutcome("4", Status.COMPLETED))
    found = by_trial(tracker)
    assert sorted(found) == ["0", "1", "2", "3", "4"]
    assert {run.info.status for run in found.values()} == {"FINISHED", "FAILED"}
    assert all("batch_size" in run.data.params for run in found.values())
    assert history(tracker, "loss") == {trial_id: [(1000, 1.0), (2000, 0.5)] for trial_id in "01234"}


def test_what_never_reached_the_server_is_told_and_sent_by_the_next_search(
    tracking_uri: str, flaky: type[FlakyClient]
) -> None:
    tracker = started(tracking_uri)
    tracker.close()
    flaky.gone = True
    with told_later():
        log_trial(tracker, "0")
    with pytest.warns(
        TrackingWarning, match=r"does not answer; it may lack trial 0\. .* same search again delivers it"
    ):
        tracker.close()
    flaky.gone = False
    resumed = started(tracking_uri)
    assert resumed.missing({"0": 2}) == {"0"}
    log_trial(resumed, "0")
    assert by_trial(resumed)["0"].info.status == "FINISHED"
    assert started(tracking_uri).missing({"0": 2}) == set()


def test_a_run_that_an_earlier_process_made_late_is_replaced(tracking_uri: str) -> None:
    resumed = started(tracking_uri)
    MlflowClient(tracking_uri).create_run(resumed.experiment_id, tags={layout.TRIAL_ID: "0"})  # it was on its way
    outcome = TrialOutcome("0", Status.COMPLETED)
    resumed.start_trial(replace(planned("0"), outcome=outcome))
    resumed.end_trial(outcome)
    assert by_trial(resumed)["0"].info.status == "FINISHED"


def test_a_run_that_lacks_an_epoch_is_no_record_of_its_trial(tracking_uri: str) -> None:
    tracker = started(tracking_uri)
    log_trial(tracker, "0")
    tracker.close()
    assert started(tracking_uri).missing({"0": 2}) == set()
    assert started(tracking_uri).missing({"0": 3}) == {"0"}


def test_a_run_says_that_it_has_ended_only_after_its_metrics(tracking_uri: str, flaky: type[FlakyClient]) -> None:
    tracker = started(tracking_uri)
    flaky.takes_no_metrics = True
    with told_later():
        log_trial(tracker, "0")
    with pytest.warns(TrackingWarning, match=r"may lack trial 0"):
        tracker.close()
    assert [run.info.status for run in MlflowClient(tracking_uri).search_runs([tracker.experiment_id])] == ["RUNNING"]
    assert read_study(tracking_uri, "digits").trials == ()


def test_a_token_that_has_expired_is_named_and_waited_for(tracking_uri: str, flaky: type[FlakyClient]) -> None:
    tracker = started(tracking_uri)
    flaky.denies = True
    tracker.start_trial(planned("0", 32))
    wait_for(lambda: tracker._outbox.failures >= 3)
    with pytest.warns(TrackingWarning, match=r"refuses the token or password; renew MLFLOW_TRACKING_TOKEN"):
        tracker.epoch(EpochReport("0", 1, 1000, 31, {"loss": 1.0}, 0.5))
    tracker.epoch(EpochReport("0", 2, 2000, 62, {"loss": 0.5}, 1.0))  # warns no more
    flaky.denies = False
    tracker.end_trial(TrialOutcome("0", Status.COMPLETED))
    assert by_trial(tracker)["0"].info.status == "FINISHED"


def test_a_refused_run_is_named_at_the_end_and_holds_nothing_up(tracking_uri: str) -> None:
    tracker = started(tracking_uri)
    tracker.start_trial(planned("0", 8))
    (begun,) = runs(tracker)
    MlflowClient(tracking_uri).delete_run(begun.info.run_id)  # by hand, in the UI
    tracker.end_trial(TrialOutcome("0", Status.COMPLETED))
    log_trial(tracker, "1")
    with pytest.warns(TrackingWarning, match=r"refused trial 0; the first: .*must be in the 'active' state") as caught:
        tracker.close()
    assert len(caught) == 1
    assert list(by_trial(tracker)) == ["1"]
    assert tracker.missing({"0": 0, "1": 2}) == {"0"}


def test_a_run_that_was_refused_in_part_does_not_seem_to_run_for_ever(
    tracking_uri: str, flaky: type[FlakyClient]
) -> None:
    tracker = started(tracking_uri)
    flaky.refuses = "val_accuracy"
    log_trial(tracker, "0")
    with pytest.warns(TrackingWarning, match=r"refused trial 0; the first: no val_accuracy"):
        tracker.close()
    (run,) = runs(tracker)
    assert (run.info.status, layout.STATUS in run.data.tags) == ("FAILED", False)
    assert run.data.tags[layout.NOTE] == "**not complete**: MLflow has refused a part of this run: no val_accuracy"
    assert read_study(tracking_uri, "digits").trials == ()
    flaky.refuses = ""
    resumed = started(tracking_uri)
    resumed.reconcile({"0"}, set())
    assert resumed.missing({"0": 2}) == {"0"}
    log_trial(resumed, "0")
    assert by_trial(resumed)["0"].info.status == "FINISHED"


def test_a_store_of_artifacts_that_cannot_be_written_leaves_the_run_complete(
    tracking_uri: str, flaky: type[FlakyClient]
) -> None:
    tracker = started(tracking_uri)
    flaky.artifacts_are_closed = True
    log_trial(tracker, "0", status=Status.FAILED)
    assert by_trial(tracker)["0"].data.tags[layout.STATUS] == "failed"
    assert tracker.missing({"0": 2}) == set()


def test_a_store_that_cannot_be_read_is_one_error(tracking_uri: str) -> None:
    path = tracking_uri.removeprefix("sqlite:///")
    tracker = MlflowTracker(tracking_uri)
    connection = sqlite3.connect(path)
    connection.execute("DROP TABLE experiment_tags")
    connection.close()
    with pytest.raises(TrackingError, match=r"mlflow.db") as caught:
        tracker.start_study("digits", SETTINGS)
    assert "\n" not in str(caught.value)
