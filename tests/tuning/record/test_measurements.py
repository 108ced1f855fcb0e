"""What probes measured, read back by whatever names they were logged under."""

from __future__ import annotations

from tuning.record.measurements import read_measurements
from tuning.record.mlflow_tracker import MlflowTracker
from tuning.record.runs import log_probe
from tuning.trial import EpochReport, Status, TrialOutcome


def test_a_probe_run_of_the_study_is_read_back(tracking_uri: str) -> None:
    tracker = MlflowTracker(tracking_uri)
    tracker.start_study("s", {"objective": "val_accuracy", "mode": "max"})
    log_probe(
        tracking_uri,
        "s",
        params={"memory_limit_source": "control group"},
        metrics=[
            ("memory_limit_bytes", 4e9, 0),
            ("peak_memory_bytes", 1e9, 8),
            ("peak_memory_bytes", 2e9, 64),
            ("examples_per_second_keras", 100.0, 8),
            ("examples_per_second_chosen", 400.0, 8),
            ("examples_per_second_chosen", 900.0, 64),
            ("noise_scale", 20.0, 0),
            ("noise_scale_low", 10.0, 0),
            ("noise_scale_high", 40.0, 0),
            ("noise_scale_low", 50.0, 1000),
        ],
        files={},
    )
    found = read_measurements(tracker.tracking_uri, tracker.experiment_id)
    assert found.examples_per_second == {"keras": {8: 100.0}, "chosen": {8: 400.0, 64: 900.0}}
    assert found.peak_memory_bytes == {8: 1e9, 64: 2e9}
    assert (found.memory_limit_bytes, found.memory_limit_source) == (4e9, "control group")
    first, second = found.noise_scale
    assert (first.at_examples, first.value, first.low, first.high) == (0, 20.0, 10.0, 40.0)
    assert (second.at_examples, second.value, second.low, second.high) == (1000, None, 50.0, None)


def test_the_timings_of_a_staged_search_are_read_back(tracking_uri: str) -> None:
    tracker = MlflowTracker(tracking_uri)
    tracker.start_study("s", {"objective": "val_accuracy"})
    tracker.start_trial("probe-machine", {}, "probe")
    seconds = {"seconds_per_update_user_8": 0.01, "seconds_per_update_trials_8": 0.002}
    tracker.end_trial(TrialOutcome("probe-machine", Status.COMPLETED, measurements=seconds))
    found = read_measurements(tracker.tracking_uri, tracker.experiment_id)
    assert found.examples_per_second == {"user": {8: 800.0}, "trials": {8: 4000.0}}


def test_the_noise_scale_of_a_trial_and_the_recommendation_are_read_back(tracking_uri: str) -> None:
    tracker = MlflowTracker(tracking_uri)
    tracker.start_study("s", {"objective": "val_accuracy"})
    tracker.start_trial("0", {"batch_size": 32, "seed": 0}, "search")
    tracker.log_epoch(EpochReport("0", 1, 100, 4, {"val_accuracy": 0.5, "noise_scale": 7.0}, 1.0))
    tracker.end_trial(TrialOutcome("0", Status.COMPLETED))
    tracker.log_recommendation({"recommended_batch_size": 32}, "## 32")
    found = read_measurements(tracker.tracking_uri, tracker.experiment_id)
    assert found.trial_noise_scale == {32: [(100, 7.0)]}
    assert found.recommendation == {"recommended_batch_size": 32}


def test_a_study_without_probes_measured_nothing(tracking_uri: str) -> None:
    tracker = MlflowTracker(tracking_uri)
    tracker.start_study("s", {"objective": "val_accuracy"})
    found = read_measurements(tracker.tracking_uri, tracker.experiment_id)
    assert found == type(found)()
