"""The tracker writes each trial as one flat run of the study's experiment, and names what it cannot write."""

from __future__ import annotations

import getpass
import inspect
import json
import math
import subprocess
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor
from tracker_helpers import SETTINGS, by_trial, log_trial, planned, runs, started

from tuning.instructions import Budget
from tuning.record import layout
from tuning.record.mlflow_tracker import MlflowTracker
from tuning.record.origin import origin_tags
from tuning.record.store import TrackingError
from tuning.trial import EpochReport, Status, TrialOutcome


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
        "best_epoch": 2,
    }
    assert run.data.tags[layout.STATUS] == "completed"
    assert run.data.tags[layout.STAGE] == "search"
    assert "mlflow.parentRunId" not in run.data.tags


def test_a_run_names_what_it_was_trained_on(tracking_uri: str) -> None:
    with closing(MlflowTracker(tracking_uri)) as tracker:
        tracker.start_study("digits", {**SETTINGS, "data": "900 + 100 examples, 30 in an epoch, 0123abcd"})
        log_trial(tracker)
        (run,) = runs(tracker)
    (found,) = run.inputs.dataset_inputs
    assert (found.dataset.name, found.dataset.digest) == ("digits", "0123abcd")
    assert json.loads(found.dataset.profile) == {"examples": "900 + 100 examples, 30 in an epoch"}
    assert {tag.key: tag.value for tag in found.tags} == {"mlflow.data.context": "training"}


def test_a_run_names_its_user_its_program_and_its_commit(
    tracking_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "mine"
    git = ["git", "-C", str(repository), "-c", "user.name=me", "-c", "user.email=me@here"]
    subprocess.run(["git", "init", "--quiet", str(repository)], check=True)
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "--message", "one"], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    monkeypatch.chdir(repository)
    origin_tags.cache_clear()
    with closing(MlflowTracker(tracking_uri)) as tracker:
        tracker.start_study("digits", {**SETTINGS, "command": "batch-size grid digits"})
        log_trial(tracker)
        (run,) = runs(tracker)
    origin_tags.cache_clear()
    assert run.data.tags["mlflow.source.name"] == "batch-size grid digits"
    assert run.data.tags["mlflow.source.git.commit"] == head
    assert run.data.tags["mlflow.user"] == getpass.getuser()


def test_outside_of_a_repository_a_run_names_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    origin_tags.cache_clear()
    assert "mlflow.source.git.commit" not in origin_tags("batch-size grid digits")
    origin_tags.cache_clear()


@pytest.mark.parametrize("asked", [True, False])
def test_the_machine_is_sampled_while_a_trial_trains_where_mlflow_s_switch_says_so(
    tracking_uri: str, asked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if asked and "tracking_uri" not in inspect.signature(SystemMetricsMonitor).parameters:
        pytest.skip("MLflow 3.4 and older sample the machine for no store but the process's own")
    monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", str(asked).lower())
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.01")
    tracker = started(tracking_uri)
    tracker.start_trial(planned())
    client = MlflowClient(tracking_uri)
    name = "system/cpu_utilization_percentage"
    until = time.monotonic() + (30 if asked else 0.3)
    while time.monotonic() < until and not any(name in run.data.metrics for run in runs(tracker)):
        time.sleep(0.02)
    tracker.end_trial(TrialOutcome("0", Status.COMPLETED))
    tracker.close()
    (run,) = client.search_runs([client.get_experiment_by_name("digits").experiment_id])
    assert run.info.status == "FINISHED"
    assert any(key.startswith("system/") for key in run.data.metrics) == asked


def log_course(tracker: MlflowTracker, status: Status = Status.COMPLETED) -> None:
    """A training whose score stalls at epoch 4 of 12 while its loss falls on, with a jump in epoch 8."""
    tracker.start_trial(replace(planned(), budget=Budget(12)))
    for epoch in range(1, 13):
        loss = 2 * 0.8**epoch * (3 if epoch == 8 else 1)
        metrics = {"loss": loss, "val_loss": 0.5, "val_accuracy": 0.2 * min(epoch, 4)}
        tracker.epoch(EpochReport("0", epoch, 1000 * epoch, 125 * epoch, metrics, 0.5 * epoch))
    tracker.end_trial(TrialOutcome("0", status))


def test_a_run_shows_how_its_training_went(tracking_uri: str) -> None:
    tracker = started(tracking_uri)
    log_course(tracker)
    (run,) = runs(tracker)
    shown = {name: run.data.metrics[name] for name in ("loss_spikes", "generalisation_gap", "best_epoch")}
    assert shown == {"loss_spikes": 1, "generalisation_gap": pytest.approx(0.5 - 2 * 0.8**12), "best_epoch": 4}
    assert run.data.metrics["update_noise"] == pytest.approx(0.0, abs=1e-12)  # but for the jump it falls smoothly
    assert run.data.tags[layout.TREND] == "stalled"
    assert run.data.tags[layout.DIAGNOSIS] == (
        "the training loss still falls while val_accuracy has stalled since epoch 4: more noise (a smaller batch) or "
        "regularisation; the training loss jumped in epoch 8: lower the learning rate, or clip the gradient"
    )
    (history,) = MlflowClient(tracking_uri).get_metric_history(run.info.run_id, "generalisation_gap")
    assert history.step == 0  # MLflow draws bars of it


def test_a_training_that_did_not_complete_has_measures_and_no_diagnosis(tracking_uri: str) -> None:
    tracker = started(tracking_uri)
    log_course(tracker, Status.PRUNED)
    (run,) = runs(tracker)
    assert run.data.metrics["loss_spikes"] == 1
    assert not {layout.TREND, layout.DIAGNOSIS} & run.data.tags.keys()


def test_a_charts_step_is_the_number_of_examples_seen(tracking_uri: str) -> None:
    tracker = started(tracking_uri)
    log_trial(tracker)
    history = MlflowClient(tracking_uri).get_metric_history(runs(tracker)[0].info.run_id, "loss")
    assert [(metric.step, metric.value) for metric in history] == [(1000, 1.0), (2000, 0.5)]


def test_two_trials_at_once_do_not_mix(tracking_uri: str) -> None:
    tracker = started(tracking_uri)
    for trial_id, batch_size in (("0", 8), ("1", 16)):
        tracker.start_trial(planned(trial_id, batch_size))
    for epoch in (1, 2):
        for trial_id, loss in (("0", 1.0), ("1", 2.0)):
            tracker.epoch(EpochReport(trial_id, epoch, 100 * epoch, epoch, {"loss": loss / epoch}, epoch))
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
    tracker.start_trial(planned("0", 8))
    tracker.epoch(EpochReport("0", 1, 100, 12, {"loss": math.nan, "val_loss": math.inf}, 1.0))
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
    tracker.close()
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
    tracker = started(tracking_uri, "empty")
    experiment = client.get_experiment_by_name("empty")
    assert experiment.experiment_id == tracker.experiment_id
    assert layout.STUDY in experiment.tags  # from the start, or else it would be refused once it holds runs


def test_starting_over_destroys_nothing(tracking_uri: str) -> None:
    for _ in range(3):
        tracker = MlflowTracker(tracking_uri)
        tracker.fresh("digits")
        tracker.start_study("digits", SETTINGS)
        log_trial(tracker)
        tracker.close()
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
    killed.start_trial(planned("1", 8))  # the search knows: it ended, unrecorded
    killed.start_trial(planned("2", 16))  # killed while it ran
    log_trial(killed, "3")  # recorded here, but not yet there
    killed.close()
    resumed = started(tracking_uri)
    resumed.reconcile(finished={"0", "1", "4"}, interrupted={"2", "3"})
    assert resumed.missing({"0": 2, "1": 2, "4": 2}) == {"1", "4"}
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
    tracker.close()
    MlflowClient(tracking_uri).create_run(tracker.experiment_id, tags={layout.TRIAL_ID: "0"})
    resumed = started(tracking_uri)
    resumed.reconcile({"0"}, set())
    assert by_trial(resumed)["0"].data.tags[layout.STATUS] == "completed"
    assert resumed.missing({"0": 2}) == set()


def test_a_new_recommendation_replaces_the_earlier_one(tracking_uri: str) -> None:
    tracker = started(tracking_uri)
    for batch_size in (32, 64):
        tracker.recommended(
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
    assert description.startswith("Use **64** [what decided](#/experiments/")
    assert run.info.run_id in description
