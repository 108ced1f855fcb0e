"""OptunaOracle: a `keras_tuner.Oracle` whose record is an Optuna study.

The study's storage is the truth. KerasTuner's trials are rebuilt from it when a study is opened, and KerasTuner's own
files are not written.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import keras_tuner
import optuna
from keras_tuner.engine import trial as trial_module
from optuna.trial import TrialState

from tuning.record.direction import infer_mode
from tuning.study.halving import Halving, scores_of, starved
from tuning.study.plans import Pause, Plan, ask_for, owed
from tuning.study.records import CLOSING, TrialRecord, closing, read_record
from tuning.trial import EpochReport, Status, TrialOutcome

_KERAS_TUNER_STATUS = {Status.COMPLETED: "COMPLETED", Status.FAILED: "FAILED"}
_QUIET = "STOPPED"  # keras-tuner 1.4.8: the one status that is neither scored, retried nor counted as a failure

# Samplers learn from COMPLETE and PRUNED and ignore FAIL; out of memory is a fact about the setting, a crash is not.
_OPTUNA_STATE = {
    Status.COMPLETED: TrialState.COMPLETE,
    Status.PRUNED: TrialState.PRUNED,
    Status.OUT_OF_MEMORY: TrialState.PRUNED,
}


class OptunaOracle(keras_tuner.Oracle):
    """Answers "what next?" from a plan and keeps what came of it in an Optuna study.

    `objective` is set once the model's metrics are known.

    Args:
        hyperparameters: Entries that override those of the build function.
        tune_new_entries: Whether entries of the build function that are not in `hyperparameters` are searched.
    """

    def __init__(
        self,
        *,
        hyperparameters: Any = None,
        tune_new_entries: bool = True,
    ) -> None:
        super().__init__(
            hyperparameters=hyperparameters,
            tune_new_entries=tune_new_entries,
            max_consecutive_failed_trials=-1,  # a failure is data; the count never reaches -1
        )
        self.verbose = 0
        self._study: optuna.Study | None = None
        self._plan: Plan | None = None
        self._halving: Halving | None = None
        self._records: dict[str, TrialRecord] = {}
        self._running: dict[str, optuna.Trial] = {}

    @property
    def records(self) -> tuple[TrialRecord, ...]:
        """Every trial of the study, in the order of their start."""
        return tuple(self._records.values())

    @property
    def plan(self) -> Plan:
        """What the open study tries.

        Raises:
            ValueError: If no study is open.
        """
        if self._plan is None:
            raise ValueError("No study is open yet; call the tuner's search() first.")
        return self._plan

    @property
    def is_open(self) -> bool:
        """Whether a study is open."""
        return self._plan is not None

    @property
    def maximize(self) -> bool:
        """Whether a larger objective is better."""
        return bool(self.objective.direction == "max")

    def record(self, trial_id: str) -> TrialRecord:
        """What is known of one trial."""
        return self._records[trial_id]

    def open(self, study: optuna.Study, plan: Plan, halving: Halving | None = None) -> None:
        """Continue a study: read its trials and mark as interrupted those that a dead driver left running.

        Args:
            study: Its record.
            plan: What it tries.
            halving: Which running trials it stops; None for none.
        """
        self._study, self._plan, self._halving = study, plan, halving
        self._records, self._running = {}, {}
        self.trials: dict[str, Any] = {}
        self.start_order: list[str] = []
        self.end_order: list[str] = []
        for trial in study.get_trials(deepcopy=False):
            if not trial.state.is_finished() and trial.state is not TrialState.WAITING:
                study.tell(trial.number, state=TrialState.FAIL)
        for trial in study.get_trials(deepcopy=False):
            record = read_record(trial)
            if record is not None:
                self._records[record.trial_id] = record
                self._restore(record)

    def remember(self, name: str, value: Any) -> None:
        """Keep a fact with the open study: plain JSON values."""
        assert self._study is not None
        self._study.set_user_attr(name, value)

    def recall(self, name: str) -> Any:
        """A fact that the open study keeps; None if there is none."""
        assert self._study is not None
        return self._study.user_attrs.get(name)

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """KerasTuner's seam: the values of the next trial, or that there is none."""
        assert self._study is not None
        debt = owed(self.records) or starved(self.records)
        if debt is None:
            trial = self.plan.next(self._study, self.records, trial_id)
        else:
            trial = ask_for(self._study, debt, self.plan.encoding, trial_id)
        if isinstance(trial, Pause):
            return {"status": "IDLE" if trial is Pause.WAIT else "STOPPED"}
        record = read_record(self._study.get_trials(deepcopy=False)[trial.number])
        assert record is not None
        self._running[trial_id], self._records[trial_id] = trial, record
        return {"status": "RUNNING", "values": record.values}

    def report(self, epoch: EpochReport) -> bool:
        """Take in what an epoch measured, also into KerasTuner's trial; whether the trial should be stopped."""
        _register(self.trials[epoch.trial_id], epoch.metrics, self.objective)
        self.update_trial(epoch.trial_id, dict(epoch.metrics), step=epoch.epoch)
        if self._halving is None:
            return False
        record = replace(self._records[epoch.trial_id], epochs=(*self._records[epoch.trial_id].epochs, epoch))
        self._records[epoch.trial_id] = record
        return self._halving.should_stop(record, self._records.values())

    def finish(self, outcome: TrialOutcome, epochs: tuple[EpochReport, ...]) -> TrialRecord:
        """Record how a trial ended, in Optuna and in KerasTuner."""
        assert self._study is not None
        running = self._running.pop(outcome.trial_id)
        score = self._score(outcome, epochs)
        running.set_user_attr(CLOSING, closing(outcome, epochs, score))
        state = _OPTUNA_STATE.get(outcome.status, TrialState.FAIL)
        if outcome.status is Status.PRUNED:
            for examples, value in scores_of(epochs, self.objective.name):
                running.report(value, step=examples)
        self._study.tell(running, score if state is TrialState.COMPLETE else None, state=state)
        record = read_record(self._study.get_trials(deepcopy=False)[running.number])
        assert record is not None
        self._records[record.trial_id] = record
        trial = self.trials[outcome.trial_id]
        trial.status = _KERAS_TUNER_STATUS.get(outcome.status, _QUIET)
        trial.message = outcome.reason or None
        self.end_trial(trial)
        return record

    def score_trial(self, trial: Any) -> None:
        """KerasTuner's seam: the objective at the end of training, where KerasTuner takes the luckiest epoch."""
        history = trial.metrics.get_history(self.objective.name)
        trial.score, trial.best_step = history[-1].value[0], history[-1].step

    def save(self) -> None:
        """Nothing: the study's storage is the record."""

    def reload(self) -> None:
        """Nothing: `open` reads the study's storage."""

    def _save_trial(self, trial: Any) -> None:
        """Nothing; private in keras-tuner 1.4.8, which would write a second record that may disagree."""

    def _score(self, outcome: TrialOutcome, epochs: tuple[EpochReport, ...]) -> float | None:
        if outcome.status is not Status.COMPLETED or not epochs:
            return None
        return epochs[-1].metrics[self.objective.name]

    def _restore(self, record: TrialRecord) -> None:
        hyperparameters = self.hyperparameters.copy()
        hyperparameters.values = record.values
        status = _KERAS_TUNER_STATUS.get(record.status or Status.INTERRUPTED, _QUIET)
        trial = trial_module.Trial(hyperparameters, trial_id=record.trial_id, status=status)
        for epoch in record.epochs:
            _register(trial, epoch.metrics, self.objective)
            for name, value in epoch.metrics.items():
                trial.metrics.update(name, value, step=epoch.epoch)
        trial.score, trial.best_step = record.score, record.epochs[-1].epoch if record.epochs else 0
        trial.message = (record.outcome.reason if record.outcome else None) or None
        self.trials[record.trial_id] = trial
        self.start_order.append(record.trial_id)
        self.end_order.append(record.trial_id)


def _register(trial: Any, names: Iterable[str], objective: Any) -> None:
    """Tell KerasTuner each metric's direction; to infer it, keras-tuner 1.4.8 would start TensorFlow's devices."""
    for name in names:
        if not trial.metrics.exists(name):
            known = objective.direction if name == objective.name else infer_mode(name)
            trial.metrics.register(name, direction=known or "min")
