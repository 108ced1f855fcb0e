"""What probes measured, read back by whatever names they were logged under."""

from __future__ import annotations

from mlflow import MlflowClient
from study_helpers import trial_named

from tuning.record.measurements import read_measurements
from tuning.record.mlflow_tracker import MlflowTracker
from tuning.trial import EpochReport, Measurement, Status, TrialOutcome


def test_what_was_measured_of_the_machine_is_read_back(tracking_uri: str) -> None:
    tracker = MlflowTracker(tracking_uri)
    tracker.start_study("s", {"objective": "val_accuracy", "mode": "max"})
    tracker.measured(
        Measurement(
            "memory",
            {"memory_limit_source": "control group"},
            {"memory_limit_bytes": 4e9},
            (("peak_memory_bytes", 1e9, 8), ("peak_memory_bytes", 2e9, 64)),
        )
    )
    rates = {"keras": {8: 100.0}, "chosen": {8: 400.0, 64: 900.0}}
    updates = [(f"examples_per_second_{loop}", rate, size) for loop in rates for size, rate in rates[loop].items()]
    tracker.measured(Measurement("updates", series=tuple(updates)))
    noise = [("noise_scale", 20.0, 0), ("noise_scale_low", 10.0, 0), ("noise_scale_high", 40.0, 0)]
    tracker.measured(Measurement("noise", series=(*noise, ("noise_scale_low", 50.0, 1000))))
    tracker.close()
    found = read_measurements(tracker.tracking_uri, tracker.experiment_id)
    assert found.examples_per_second == {"keras": {8: 100.0}, "chosen": {8: 400.0, 64: 900.0}}
    assert found.peak_memory_bytes == {8: 1e9, 64: 2e9}
    assert (found.memory_limit_bytes, found.memory_limit_source) == (4e9, "control group")
    first, second = found.noise_scale
    assert (first.at_examples, first.value, first.low, first.high) == (0, 20.0, 10.0, 40.0)
    assert (second.at_examples, second.value, second.low, second.high) == (1000, None, 50.0, None)


def test_a_later_measurement_replaces_the_earlier_one_of_its_name(tracking_uri: str) -> None:
    tracker = MlflowTracker(tracking_uri)
    tracker.start_study("s", {"objective": "val_accuracy"})
    for limit in (4e9, 5e9):
        tracker.measured(Measurement("memory", values={"memory_limit_bytes": limit}))
    tracker.measured(Measurement("noise", reason="own train_step"))
    tracker.close()
    client = MlflowClient(tracking_uri)
    runs = {run.info.run_name: run for run in client.search_runs([tracker.experiment_id])}
    assert runs.keys() == {"memory", "noise"}
    assert runs["memory"].data.metrics == {"memory_limit_bytes": 5e9}
    assert runs["noise"].data.tags["batch_size.reason"] == "own train_step"
    assert not any("batch_size.trial_id" in run.data.tags for run in runs.values())


def test_the_noise_scale_of_a_trial_and_the_recommendation_are_read_back(tracking_uri: str) -> None:
    tracker = MlflowTracker(tracking_uri)
    tracker.start_study("s", {"objective": "val_accuracy"})
    tracker.start_trial(trial_named("0", {"batch_size": 32, "seed": 0}, "search"))
    tracker.epoch(EpochReport("0", 1, 100, 4, {"val_accuracy": 0.5, "noise_scale": 7.0}, 1.0))
    tracker.end_trial(TrialOutcome("0", Status.COMPLETED))
    tracker.recommended({"recommended_batch_size": 32}, "## 32")
    found = read_measurements(tracker.tracking_uri, tracker.experiment_id)
    assert found.trial_noise_scale == {32: [(100, 7.0)]}
    assert found.recommendation == {"recommended_batch_size": 32}


def test_a_study_without_probes_measured_nothing(tracking_uri: str) -> None:
    tracker = MlflowTracker(tracking_uri)
    tracker.start_study("s", {"objective": "val_accuracy"})
    found = read_measurements(tracker.tracking_uri, tracker.experiment_id)
    assert found == type(found)()
