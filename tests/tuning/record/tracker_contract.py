"""TrackerContract: the tests that every `Tracker` passes, of whatever is kept."""

from __future__ import annotations

import pytest
from tracker_helpers import SETTINGS, log_trial, planned

from tuning.messages import Measurement
from tuning.record.tracker import Tracker
from tuning.trial import EpochReport, Status, TrialOutcome


class TrackerContract:
    """What a search relies on. A heir gives the fixture `tracker`, and says whether it keeps what it is told."""

    keeps = True

    @pytest.fixture
    def tracker(self) -> Tracker:
        raise NotImplementedError("An heir of this contract has a fixture of this name, which returns its tracker.")

    def test_a_study_is_recorded_from_beginning_to_end(self, tracker: Tracker) -> None:
        tracker.prepare()
        tracker.fresh("digits")
        tracker.start_study("digits", SETTINGS)
        tracker.reconcile([], [])
        assert tracker.missing({}) == set()
        log_trial(tracker)
        tracker.measured(Measurement("memory", {"loop": "keras"}, {"limit": 1.0}, (("peak", 2.0, 8),)))
        tracker.recommended({"recommended_batch_size": 8}, "8", {"report.html": "<p>8", "plot.png": b"PNG"})
        tracker.close()

    def test_a_trial_that_has_ended_is_missing_until_it_is_recorded(self, tracker: Tracker) -> None:
        tracker.start_study("digits", SETTINGS)
        assert tracker.missing({"0": 2}) == ({"0"} if self.keeps else set())
        log_trial(tracker, "0")
        assert tracker.missing({"0": 2}) == set()

    def test_a_trial_that_starts_again_replaces_its_record(self, tracker: Tracker) -> None:
        tracker.start_study("digits", SETTINGS)
        log_trial(tracker, "0")
        tracker.start_trial(planned("0"))
        assert tracker.missing({"0": 2}) == ({"0"} if self.keeps else set())
        tracker.end_trial(TrialOutcome("0", Status.FAILED, "no luck"))
        assert tracker.missing({"0": 0}) == set()

    def test_trials_run_side_by_side(self, tracker: Tracker) -> None:
        tracker.start_study("digits", SETTINGS)
        for trial_id in ("0", "1"):
            tracker.start_trial(planned(trial_id, seed=int(trial_id)))
        for trial_id in ("1", "0"):
            tracker.epoch(EpochReport(trial_id, 1, 100, 12, {"loss": 0.5}, 1.0))
        for trial_id in ("0", "1"):
            tracker.end_trial(TrialOutcome(trial_id, Status.COMPLETED))
        assert tracker.missing({"0": 1, "1": 1}) == set()

    def test_a_measurement_is_no_trial(self, tracker: Tracker) -> None:
        tracker.start_study("digits", SETTINGS)
        for reason in ("", "it does not fit"):
            tracker.measured(Measurement("memory", reason=reason))
        assert tracker.missing({"memory": 0}) == ({"memory"} if self.keeps else set())

    def test_closing_loses_nothing_and_more_may_follow(self, tracker: Tracker) -> None:
        tracker.start_study("digits", SETTINGS)
        tracker.close()
        log_trial(tracker, "0")
        tracker.close()
        assert tracker.missing({"0": 2}) == set()

    def test_a_study_that_has_begun_may_be_shown_with_other_settings(self, tracker: Tracker) -> None:
        tracker.start_study("digits", SETTINGS)
        log_trial(tracker, "0")
        experiment_id = tracker.experiment_id
        tracker.start_study("digits", {**SETTINGS, "notes": "all seeds start alike"})
        assert tracker.experiment_id == experiment_id
        assert tracker.missing({"0": 2}) == set()
        tracker.close()

    def test_an_experiment_has_an_id_once_a_study_has_started(self, tracker: Tracker) -> None:
        tracker.start_study("digits", SETTINGS)
        assert bool(tracker.experiment_id) == self.keeps
