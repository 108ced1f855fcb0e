"""Measurements of a study are read back from their own runs."""

from __future__ import annotations

from pathlib import Path

from mlflow import MlflowClient
from tracker_helpers import planned, runs, started

from tuning.messages import Measurement
from tuning.record import layout
from tuning.record.experiments import is_ours
from tuning.record.mlflow_tracker import MlflowTracker
from tuning.record.reading import read_study
from tuning.record.runs import log_measurement, read_measurements
from tuning.trial import EpochReport, Status, TrialOutcome

MEMORY = Measurement(
    "memory",
    {"memory_limit_source": "control group"},
    {"memory_limit_bytes": 4e9},
    (("peak_memory_bytes", 1e9, 8), ("peak_memory_bytes", 2e9, 64)),
)
UPDATES = Measurement(
    "updates",
    series=(
        ("examples_per_second_keras", 100.0, 8),
        ("examples_per_second_chosen", 400.0, 8),
        ("examples_per_second_chosen", 900.0, 64),
        ("seconds_per_update_user", 0.01, 8),
        ("seconds_per_update_trials", 0.002, 8),
        ("seconds_per_update_trials", 0.0, 64),
        ("examples_per_second_nowhere", 7.0, 0),
    ),
)
NOISE = Measurement(
    "noise",
    series=(
        ("noise_scale", 20.0, 0),
        ("noise_scale_low", 10.0, 0),
        ("noise_scale_high", 40.0, 0),
        ("noise_scale_low", 50.0, 1000),
    ),
)


def test_measurements_are_read_back_by_their_names(tracking_uri: str) -> None:
    tracker = started(tracking_uri)
    for measurement in (MEMORY, UPDATES, NOISE):
        tracker.measured(measurement)
    tracker.close()
    found = read_measurements(tracker.tracking_uri, tracker.experiment_id)
    assert found.examples_per_second == {
        "user": {8: 800.0},
        "trials": {8: 4000.0},
        "keras": {8: 100.0},
        "chosen": {8: 400.0, 64: 900.0},
    }
    assert found.peak_memory_bytes == {8: 1e9, 64: 2e9}
    assert (found.memory_limit_bytes, found.memory_limit_source) == (4e9, "control group")
    first, second = found.noise_scale
    assert (first.at_examples, first.value, first.low, first.high) == (0, 20.0, 10.0, 40.0)
    assert (second.at_examples, second.value, second.low, second.high) == (1000, None, 50.0, None)


def test_a_measurement_is_one_run_that_is_no_trial(tracking_uri: str) -> None:
    tracker = started(tracking_uri)
    tracker.measured(MEMORY)
    (run,) = runs(tracker)
    assert (run.info.run_name, run.info.status) == ("memory", "FINISHED")
    assert run.data.tags[layout.STAGE] == "measurement"
    assert run.data.tags[layout.MEASURED] == "memory"
    assert layout.TRIAL_ID not in run.data.tags
    assert run.data.params == {"memory_limit_source": "control group"}
    assert read_study(tracking_uri, "digits").trials == ()
    assert read_study(tracking_uri, "digits").notes == ()


def test_a_later_measurement_of_the_same_name_replaces_the_earlier_one(tracking_uri: str) -> None:
    tracker = started(tracking_uri)
    for limit in (1e9, 2e9):
        tracker.measured(Measurement("memory", values={"memory_limit_bytes": limit}))
        tracker.measured(Measurement("updates", values={"seconds": limit}))
    found = sorted((run.info.run_name, dict(run.data.metrics)) for run in runs(tracker))
    assert found == [("memory", {"memory_limit_bytes": 2e9}), ("updates", {"seconds": 2e9})]


def test_a_measurement_that_failed_says_why(tracking_uri: str) -> None:
    tracker = started(tracking_uri)
    tracker.measured(Measurement("noise", reason="it does not fit"))
    (run,) = runs(tracker)
    assert (run.info.status, run.data.tags[layout.REASON]) == ("FAILED", "it does not fit")


def test_more_points_than_a_batch_holds_are_all_recorded(tracking_uri: str) -> None:
    tracker = started(tracking_uri)
    tracker.measured(Measurement("noise", series=tuple(("peak_memory_bytes", 1.0, step) for step in range(1, 1202))))
    tracker.close()
    assert len(read_measurements(tracker.tracking_uri, tracker.experiment_id).peak_memory_bytes) == 1201


def test_a_measurement_outside_a_study_has_an_experiment_that_is_no_study(tracking_uri: str) -> None:
    for _ in range(2):
        run_id = log_measurement(tracking_uri, "digits-probe", MEMORY, {"probe.json": "{}", "probe.png": b"PNG"})
    client = MlflowClient(tracking_uri)
    experiment = client.get_experiment_by_name("digits-probe")
    assert not is_ours(experiment)
    assert [run.info.run_id for run in client.search_runs([experiment.experiment_id])] == [run_id]
    folder = Path(client.download_artifacts(run_id, ""))
    assert ((folder / "probe.json").read_text(), (folder / "probe.png").read_bytes()) == ("{}", b"PNG")


def test_the_noise_scale_of_a_trial_and_the_recommendation_are_read_back(tracking_uri: str) -> None:
    tracker = started(tracking_uri)
    tracker.start_trial(planned("0", 32))
    tracker.epoch(EpochReport("0", 1, 100, 4, {"val_accuracy": 0.5, "noise_scale": 7.0}, 1.0))
    tracker.end_trial(TrialOutcome("0", Status.COMPLETED))
    tracker.measured(Measurement("other", {"batch_size": 8}, series=(("noise_scale", 3.0, 5),)))
    tracker.recommended({"recommended_batch_size": 32}, "## 32")
    tracker.close()
    found = read_measurements(tracker.tracking_uri, tracker.experiment_id)
    assert found.trial_noise_scale == {32: [(100, 7.0)]}
    assert found.recommendation == {"recommended_batch_size": 32}


def test_a_study_without_measurements_measured_nothing(tracking_uri: str) -> None:
    tracker = MlflowTracker(tracking_uri)
    tracker.start_study("s", {"objective": "val_accuracy"})
    found = read_measurements(tracker.tracking_uri, tracker.experiment_id)
    assert found == type(found)()
