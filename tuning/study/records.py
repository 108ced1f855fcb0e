"""TrialRecord: one trial as the study's storage remembers it, and its way into and out of Optuna."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import optuna

from search_spaces.space import Setting, as_pairs
from tuning.stats.results import TrialResult
from tuning.trial import EpochReport, Goal, Status, TrialOutcome

OPENING, CLOSING = "trial", "result"
"""User attributes of an Optuna trial. One write each: a write to a journal costs about a millisecond."""


@dataclass(frozen=True)
class Budget:
    """How long a trial may train.

    Args:
        epochs: At most.
        goal: Where it may end before.
    """

    epochs: int
    goal: Goal | None = None


@dataclass(frozen=True)
class TrialRecord:
    """What is known of one trial.

    Args:
        trial_id: KerasTuner's and MLflow's name for it.
        number: Optuna's.
        setting: Batch size, learning rate, hyperparameters.
        seed: Of weights and example order.
        stage: What it is run for, such as "search" or "confirm".
        outcome: How it ended; None while it runs.
        epochs: What its epochs measured.
        score: The objective at the end of training, None if it did not complete.
        budget: Its own; None for the search's.
    """

    trial_id: str
    number: int
    setting: Setting
    seed: int
    stage: str
    outcome: TrialOutcome | None = None
    epochs: tuple[EpochReport, ...] = ()
    score: float | None = None
    budget: Budget | None = None

    @property
    def status(self) -> Status | None:
        """How it ended, None while it runs."""
        return None if self.outcome is None else self.outcome.status

    @property
    def is_settled(self) -> bool:
        """Whether it runs or has ended for good; an interrupted trial is owed again."""
        return self.status is not Status.INTERRUPTED

    @property
    def values(self) -> dict[str, Any]:
        """The setting by name, as KerasTuner's `HyperParameters.values` holds it."""
        values = {**dict(self.setting.hyperparameters), "batch_size": self.setting.batch_size}
        rate = self.setting.learning_rate
        return values if rate is None else {**values, "learning_rate": rate}

    def result(self, objective: str) -> TrialResult:
        """This trial as selection sees it.

        Raises:
            ValueError: If the trial still runs.
        """
        if self.outcome is None:
            raise ValueError(f"Trial {self.trial_id} must have ended; it still runs.")
        curve = [(epoch.examples_seen, epoch.metrics[objective]) for epoch in self.epochs if objective in epoch.metrics]
        return TrialResult(
            batch_size=self.setting.batch_size,
            seed=self.seed,
            status=self.outcome.status,
            learning_rate=self.setting.learning_rate,
            objective=self.score,
            hyperparameters=self.setting.hyperparameters,
            examples_per_second=self.outcome.examples_per_second,
            peak_memory_bytes=self.outcome.peak_memory_bytes,
            seconds=self.outcome.seconds,
            examples_seen=tuple(seen for seen, _ in curve),
            objective_curve=tuple(value for _, value in curve),
            stage=self.stage,
            reason=self.outcome.reason,
        )


def opening(trial_id: str, setting: Setting, seed: int, stage: str, budget: Budget | None = None) -> dict[str, Any]:
    """What makes an Optuna trial a `TrialRecord` from its start: its user attribute `OPENING`."""
    values = {**dataclasses.asdict(setting), "hyperparameters": dict(setting.hyperparameters)}
    given = {} if budget is None else {"budget": dataclasses.asdict(budget)}
    return {"trial_id": trial_id, "setting": values, "seed": seed, "stage": stage, **given}


def closing(outcome: TrialOutcome, epochs: tuple[EpochReport, ...], score: float | None) -> dict[str, Any]:
    """What is added when it ends, as plain JSON: its user attribute `CLOSING`."""
    return {
        "outcome": _plain(dataclasses.asdict(outcome)),
        "epochs": [_plain(dataclasses.asdict(epoch)) for epoch in epochs],
        "score": score,
    }


def read_record(trial: optuna.trial.FrozenTrial) -> TrialRecord | None:
    """The record of an Optuna trial; None if the driver died before it was filled in, so that nothing ran."""
    if OPENING not in trial.user_attrs:
        return None
    opened, closed = trial.user_attrs[OPENING], trial.user_attrs.get(CLOSING, {})
    outcome = _read_outcome(closed)
    if outcome is None and trial.state.is_finished():
        outcome = TrialOutcome(opened["trial_id"], Status.INTERRUPTED, reason="the driver ended before the trial")
    return TrialRecord(
        trial_id=opened["trial_id"],
        number=trial.number,
        setting=_read_setting(opened["setting"]),
        seed=opened["seed"],
        stage=opened["stage"],
        outcome=outcome,
        epochs=tuple(EpochReport(**_numbers(epoch)) for epoch in closed.get("epochs", ())),
        score=closed.get("score"),
        budget=_read_budget(opened.get("budget")),
    )


def _read_setting(values: Mapping[str, Any]) -> Setting:
    return Setting(values["batch_size"], values["learning_rate"], as_pairs(values["hyperparameters"]))


def _read_budget(values: Mapping[str, Any] | None) -> Budget | None:
    if values is None:
        return None
    goal = values["goal"]
    return Budget(values["epochs"], None if goal is None else Goal(**goal))


def _read_outcome(closed: Mapping[str, Any]) -> TrialOutcome | None:
    if not closed:
        return None
    values = _numbers(closed["outcome"])
    return TrialOutcome(**{**values, "status": Status(values["status"])})


def _plain(value: Any) -> Any:
    """JSON knows no NaN and no infinity; they travel as words."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    return value


def _numbers(value: Any) -> Any:
    if isinstance(value, Mapping):
        if value.keys() == {"float"}:
            return float(value["float"])
        return {key: _numbers(inner) for key, inner in value.items()}
    return value
