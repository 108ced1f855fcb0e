"""TrialRecord: one trial as the study's storage remembers it, and its way into and out of Optuna."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import optuna

from search_spaces.space import Setting, as_pairs
from tuning.selection.results import TrialResult
from tuning.trial import EpochReport, Status, TrialOutcome


@dataclass(frozen=True)
class TrialRecord:
    """What is known of one trial.

    Args:
        trial_id: KerasTuner's and MLflow's name for it.
        number: Optuna's.
        setting: Batch size, learning rate, hyperparameters.
        seed: Of weights and example order.
        stage: "search" or "confirm".
        outcome: How it ended; None while it runs.
        epochs: What its epochs measured.
        score: The objective at the end of training, None if it did not complete.
    """

    trial_id: str
    number: int
    setting: Setting
    seed: int
    stage: str
    outcome: TrialOutcome | None = None
    epochs: tuple[EpochReport, ...] = ()
    score: float | None = None

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


def opening_attributes(trial_id: str, setting: Setting, seed: int, stage: str) -> dict[str, Any]:
    """The attributes that make an Optuna trial a `TrialRecord` from its start."""
    values = {**dataclasses.asdict(setting), "hyperparameters": dict(setting.hyperparameters)}
    return {"trial_id": trial_id, "setting": values, "seed": seed, "stage": stage}


def closing_attributes(outcome: TrialOutcome, epochs: tuple[EpochReport, ...]) -> dict[str, Any]:
    """The attributes added when it ends, as plain JSON."""
    return {
        "status": str(outcome.status),
        "outcome": _plain(dataclasses.asdict(outcome)),
        "epochs": [_plain(dataclasses.asdict(epoch)) for epoch in epochs],
    }


def read_record(trial: optuna.trial.FrozenTrial) -> TrialRecord | None:
    """The record of an Optuna trial; None if the driver died before it was filled in, so that nothing ran."""
    attributes = trial.user_attrs
    if "setting" not in attributes:
        return None
    outcome = _read_outcome(attributes)
    if outcome is None and trial.state.is_finished():
        outcome = TrialOutcome(attributes["trial_id"], Status.INTERRUPTED, reason="the driver ended before the trial")
    epochs = tuple(EpochReport(**_numbers(epoch)) for epoch in attributes.get("epochs", ()))
    return TrialRecord(
        trial_id=attributes["trial_id"],
        number=trial.number,
        setting=_read_setting(attributes["setting"]),
        seed=attributes["seed"],
        stage=attributes["stage"],
        outcome=outcome,
        epochs=epochs,
        score=attributes.get("score"),
    )


def _read_setting(values: Mapping[str, Any]) -> Setting:
    return Setting(values["batch_size"], values["learning_rate"], as_pairs(values["hyperparameters"]))


def _read_outcome(attributes: Mapping[str, Any]) -> TrialOutcome | None:
    if "outcome" not in attributes:
        return None
    values = _numbers(attributes["outcome"])
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
