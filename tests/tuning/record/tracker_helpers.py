"""What the tests of `MlflowTracker` do with one: start a study, log a trial, read its runs."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from mlflow import MlflowClient
from mlflow.entities import Run, ViewType

from search_spaces.space import Setting, as_pairs
from tuning.instructions import Budget
from tuning.record import layout
from tuning.record.mlflow_tracker import MlflowTracker
from tuning.record.store import TrackingWarning
from tuning.record.tracker import Tracker
from tuning.trial import SEARCH, EpochReport, HyperparameterValue, Status, Trial, TrialOutcome

SETTINGS = {"objective": "val_accuracy", "mode": "max"}


def started(uri: str, study: str = "digits") -> MlflowTracker:
    tracker = MlflowTracker(uri)
    tracker.start_study(study, SETTINGS)
    return tracker


def planned(
    trial_id: str = "0",
    batch_size: int = 8,
    *,
    seed: int = 0,
    learning_rate: float | None = None,
    stage: str = SEARCH,
    **hyperparameters: HyperparameterValue,
) -> Trial:
    setting = Setting(batch_size, learning_rate, as_pairs(hyperparameters))
    return Trial(setting, seed, stage, Budget(epochs=2), trial_id)


def log_trial(tracker: Tracker, trial_id: str = "0", status: Status = Status.COMPLETED, batch_size: int = 32) -> None:
    tracker.start_trial(planned(trial_id, batch_size, learning_rate=0.001, units=64))
    for epoch in (1, 2):
        metrics = {"loss": 1 / epoch, "val_accuracy": 0.4 * epoch}
        tracker.epoch(EpochReport(trial_id, epoch, 1000 * epoch, 31 * epoch, metrics, 0.5 * epoch))
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


@contextmanager
def told_later() -> Iterator[None]:
    """Whether trouble is noticed in this block depends on the thread."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TrackingWarning)
        yield


def runs(tracker: MlflowTracker, view: int = ViewType.ACTIVE_ONLY) -> list[Run]:
    """What MLflow holds, once everything has been delivered."""
    tracker.close()
    found = MlflowClient(tracker.tracking_uri).search_runs([tracker.experiment_id], run_view_type=view)
    return list(found)


def by_trial(tracker: MlflowTracker) -> dict[str, Run]:
    found = runs(tracker)
    named = {run.data.tags[layout.TRIAL_ID]: run for run in found}
    assert len(named) == len(found)
    return named
