"""A server that goes away, refuses, or cannot be read costs no trial its record."""

from __future__ import annotations

import sqlite3
import warnings
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from requests.exceptions import ConnectionError
from tracker_helpers import SETTINGS, by_trial, log_trial, planned, runs, started

from tuning.record import mlflow_tracker
from tuning.record.mlflow_tracker import MlflowTracker
from tuning.record.store import TrackingError, TrackingWarning
from tuning.trial import Status, TrialOutcome


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
        tracker.start_trial(planned(str(back_after), 8))

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
        tracker.close()
    flaky.gone = False
    resumed = started(tracking_uri)
    assert resumed.missing({"0"}) == {"0"}
    log_trial(resumed, "0")
    assert by_trial(resumed)["0"].info.status == "FINISHED"
    assert started(tracking_uri).missing({"0"}) == set()


def test_a_refused_write_is_told_at_the_end_and_holds_nothing_up(tracking_uri: str) -> None:
    tracker = started(tracking_uri)
    tracker.start_trial(planned("0", 8))
    MlflowClient(tracking_uri).delete_run(runs(tracker)[0].info.run_id)  # by hand, in the UI
    tracker.end_trial(TrialOutcome("0", Status.COMPLETED))
    log_trial(tracker, "1")
    with pytest.warns(TrackingWarning, match=r"MLflow refused 2 writes; the first: .*must be in the 'active' state"):
        tracker.close()
    assert list(by_trial(tracker)) == ["1"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tracker.close()


def test_a_store_that_cannot_be_read_is_one_error(tracking_uri: str) -> None:
    path = tracking_uri.removeprefix("sqlite:///")
    tracker = MlflowTracker(tracking_uri)
    connection = sqlite3.connect(path)
    connection.execute("DROP TABLE experiment_tags")
    connection.close()
    with pytest.raises(TrackingError, match=r"mlflow.db") as caught:
        tracker.start_study("digits", SETTINGS)
    assert "\n" not in str(caught.value)
