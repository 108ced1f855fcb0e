"""StudyOracle: what KerasTuner asks an oracle, answered from a study; a search itself asks the plan and the study."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import fmean
from typing import Any

import keras_tuner
from keras_tuner.engine import trial as trial_module

from search_spaces.entry import Entry, entries_of
from tuning.messages import ModelDescription
from tuning.objective import infer_direction
from tuning.study.study import Study
from tuning.trial import CONFIRM, Status, Trial

_KERAS_TUNER_STATUS = {Status.COMPLETED: "COMPLETED", Status.FAILED: "FAILED", None: "RUNNING"}
_QUIET = "STOPPED"  # keras-tuner 1.4.8: the one status that is neither scored, retried nor counted as a failure


class StudyOracle(keras_tuner.Oracle):
    """Shows a study as KerasTuner's summaries and `get_best_trials` expect it, and keeps the hyperparameters.

    The study's storage is the truth; KerasTuner's own files are not written.

    Args:
        study: The record.
        hyperparameters: Entries that override those of the build function.
        objective: A `keras_tuner.Objective`, or what it is made of; None where the search has yet to choose.
        tune_new_entries: Whether entries of the build function that are not in `hyperparameters` are searched.
        allow_new_entries: Whether there may be such entries.
    """

    def __init__(
        self,
        study: Study,
        *,
        objective: Any = None,
        hyperparameters: Any = None,
        tune_new_entries: bool = True,
        allow_new_entries: bool = True,
    ) -> None:
        self.study = study
        self._asked = as_keras_tuner_objective(objective)
        super().__init__(
            hyperparameters=hyperparameters, tune_new_entries=tune_new_entries, allow_new_entries=allow_new_entries
        )
        self.verbose = 0

    @property
    def records(self) -> tuple[Trial, ...]:
        """Every trial of the study, in the order of their start."""
        return tuple(self.study.records)

    @property
    def objective(self) -> Any:
        """The `keras_tuner.Objective` of the study; before it has been opened, the one asked for, if one was."""
        if not self.study.is_open:
            return self._asked
        return keras_tuner.Objective(self.study.objective.name, self.study.objective.direction)

    @objective.setter
    def objective(self, _: Any) -> None:
        """KerasTuner's constructor sets None; the study knows better."""

    @property
    def trials(self) -> dict[str, Any]:
        """The trials as KerasTuner's, by their names."""
        return {trial.trial_id: self._as_keras_tuner(trial) for trial in self.study.records}

    @trials.setter
    def trials(self, _: Any) -> None:
        """KerasTuner's constructor sets none; the study knows better."""

    def known(self) -> Mapping[str, Any]:
        """Return the hyperparameters known so far, as a `keras_tuner.HyperParameters.get_config()`."""
        config: dict[str, Any] = self.get_space().get_config()
        return config

    def learn(self, model: ModelDescription) -> tuple[Entry, ...]:
        """Take in the hyperparameters of a model, and return those that are searched."""
        space = [{"class_name": entry.kind, "config": dict(entry.config)} for entry in model.entries]
        self.update_space(keras_tuner.HyperParameters.from_config({"space": space, "values": {}}))
        return entries_of(self.get_space().space)

    def best_hyperparameters(self, count: int) -> list[Any]:
        """Return the settings with the best mean scores, each once, as `keras_tuner.HyperParameters`.

        Args:
            count: How many at most. Seeds of a setting are pooled; where some trials have confirmed settings on fresh
                seeds, only those count.
        """
        scored = [trial for trial in self.study.records if trial.scored and trial.score is not None]
        fresh = [trial for trial in scored if trial.stage == CONFIRM]
        by_setting: dict[Any, list[Trial]] = {}
        for trial in fresh or scored:
            by_setting.setdefault(trial.setting, []).append(trial)
        sign = self.study.objective.sign if scored else 1
        means = {setting: fmean(trial.score or 0.0 for trial in some) for setting, some in by_setting.items()}
        ranked = sorted(means, key=lambda setting: -sign * means[setting])
        return [self._as_keras_tuner(by_setting[setting][0]).hyperparameters for setting in ranked[:count]]

    def save(self) -> None:
        """Nothing: the study's storage is the record."""

    def reload(self) -> None:
        """Nothing: the study reads its own storage."""

    def _as_keras_tuner(self, trial: Trial) -> Any:
        hyperparameters = self.hyperparameters.copy()
        hyperparameters.values = trial.values
        status = _KERAS_TUNER_STATUS.get(trial.status, _QUIET)
        found = trial_module.Trial(hyperparameters, trial_id=trial.trial_id, status=status)
        for report in trial.reports:
            _register(found, report.metrics, self.objective)
            for name, value in report.metrics.items():
                found.metrics.update(name, value, step=report.epoch)
        found.score, found.best_step = trial.score, trial.reports[-1].epoch if trial.reports else 0
        found.message = trial.reason or None
        return found


def as_keras_tuner_objective(asked: Any) -> Any:
    """Return a `keras_tuner.Objective` for a name, "name:max", or one; None where no direction is known."""
    if asked is None or hasattr(asked, "direction"):
        return asked
    name, _, direction = str(asked).partition(":")
    direction = direction or infer_direction(name) or ""
    return keras_tuner.Objective(name, direction) if direction else None


def _register(trial: Any, names: Iterable[str], objective: Any) -> None:
    """Tell KerasTuner each metric's direction; to infer it, keras-tuner 1.4.8 would start TensorFlow's devices."""
    for name in names:
        if not trial.metrics.exists(name):
            known = objective.direction if name == objective.name else infer_direction(name)
            trial.metrics.register(name, direction=known or "min")
