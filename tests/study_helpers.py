"""Records of trials that need no study, for tests of what decides by them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from search_spaces.space import Setting, as_pairs
from tuning.instructions import Budget
from tuning.machine.machine import Machine
from tuning.study.records import Records
from tuning.trial import EpochReport, Status, Trial, TrialOutcome


def records_of(trials: Iterable[Trial] = (), machine: Machine | None = None) -> Records:
    """Records of some trials, each with a name of its own."""
    records = Records(machine=machine)
    for trial in trials:
        add(records, trial)
    return records


def add(records: Records, trial: Trial) -> Trial:
    """Put a trial into records under the next name."""
    named = replace(trial, trial_id=f"{len(records):04d}")
    records.put(named)
    return named


def ended(trial: Trial, status: Status = Status.COMPLETED, score: float | None = 0.5, **measured: Any) -> Trial:
    """The trial as it is once it has ended; only a completed one has a score."""
    outcome = TrialOutcome(trial.trial_id, status, **measured)
    return replace(trial, outcome=outcome, score=score if status is Status.COMPLETED else None)


def with_curve(trial: Trial, scores: Iterable[float], metric: str = "val_accuracy", n_train: int = 1000) -> Trial:
    """The trial with one evaluation per epoch."""
    reports = (
        EpochReport(trial.trial_id, epoch, epoch * n_train, epoch, {metric: score}, 0.0)
        for epoch, score in enumerate(scores, start=1)
    )
    return replace(trial, reports=tuple(reports))


def trial_named(trial_id: str, params: Mapping[str, Any], stage: str = "search") -> Trial:
    """A trial from what a run shows as its parameters; what is no field of a trial is a hyperparameter."""
    rest = dict(params)
    size, rate = rest.pop("batch_size"), rest.pop("learning_rate", None)
    seed, epochs = rest.pop("seed", 0), rest.pop("epochs", 1)
    return Trial(Setting(size, rate, as_pairs(rest)), seed, stage, Budget(epochs), trial_id)
