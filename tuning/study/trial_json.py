"""A trial as plain JSON, in the two parts in which a study writes it: at its start, and at its end."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from search_spaces.space import Setting, as_pairs
from tuning.objective import Objective
from tuning.trial import Budget, EpochReport, Goal, Status, Trial, TrialOutcome

OPENING, CLOSING = "trial", "result"
"""User attributes of an Optuna trial. One write each: a write to a journal costs about a millisecond."""


def opening_of(trial: Trial) -> dict[str, Any]:
    """Return what is written of a trial before it starts."""
    setting = {**dataclasses.asdict(trial.setting), "hyperparameters": dict(trial.hyperparameters)}
    return {
        "trial_id": trial.trial_id,
        "setting": setting,
        "seed": trial.seed,
        "stage": trial.stage,
        "budget": dataclasses.asdict(trial.budget),
    }


def closing_of(trial: Trial) -> dict[str, Any]:
    """Return what is added when it has ended; numbers that JSON does not know travel as words."""
    assert trial.outcome is not None
    return {
        "outcome": _plain(dataclasses.asdict(trial.outcome)),
        "epochs": [_plain(dataclasses.asdict(report)) for report in trial.reports],
        "score": _plain(trial.score),
    }


def read_trial(attributes: Mapping[str, Any], *, has_ended: bool) -> Trial | None:
    """Return the trial that an Optuna trial's user attributes hold; None where they hold none.

    Args:
        attributes: The user attributes.
        has_ended: Whether Optuna says that it has; without an outcome the driver then died before the trial did.
    """
    opened, closed = attributes.get(OPENING), attributes.get(CLOSING, {})
    if opened is None:
        return None
    outcome = _read_outcome(closed)
    if outcome is None and has_ended:
        outcome = TrialOutcome(opened["trial_id"], Status.INTERRUPTED, reason="the driver ended before the trial")
    setting = opened["setting"]
    return Trial(
        Setting(setting["batch_size"], setting["learning_rate"], as_pairs(setting["hyperparameters"])),
        opened["seed"],
        opened["stage"],
        _read_budget(opened["budget"]),
        opened["trial_id"],
        reports=tuple(EpochReport(**_numbers(report)) for report in closed.get("epochs", ())),
        outcome=outcome,
        score=_numbers(closed.get("score")),
    )


def _read_budget(values: Mapping[str, Any]) -> Budget:
    goal = values["goal"]
    if goal is None:
        return Budget(values["epochs"])
    return Budget(values["epochs"], Goal(Objective(**goal["objective"]), goal["value"], goal["least_epochs"]))


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
