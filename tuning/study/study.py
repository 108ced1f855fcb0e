"""Study: the durable record of a search on an Optuna storage."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Protocol

from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.storages import BaseStorage
from optuna.trial import TrialState, create_trial

from search_spaces.entry import Entry
from search_spaces.space import RESERVED_NAMES, Setting
from tuning.machine.machine import Machine
from tuning.objective import Objective
from tuning.study.encoding import CLOSING, OPENING, closing_of, distribution_of, opening_of, read_trial
from tuning.study.patient_storage import PatientStorage, end_trial
from tuning.study.records import Records
from tuning.study.server_writes import Ending
from tuning.study.storage import SETTINGS
from tuning.trial import MOST_LOSSES, EpochReport, Status, Trial, TrialOutcome

_MACHINE = "machine"

# Samplers learn from COMPLETE and PRUNED and ignore FAIL; out of memory is a fact about the setting, a crash is not.
_OPTUNA_STATE = {
    Status.COMPLETED: TrialState.COMPLETE,
    Status.PRUNED: TrialState.PRUNED,
    Status.OUT_OF_MEMORY: TrialState.PRUNED,
}


class Encoder(Protocol):
    """Tells Optuna of a setting."""

    def encode(self, setting: Setting) -> tuple[dict[str, Any], dict[str, BaseDistribution]]:
        """Return Optuna's values and distributions."""


class PlainEncoder:
    """Shows Optuna every value as it is, so that its dashboard can be read; no sampler looks at this.

    The distributions are the same in every study, whatever sizes and rates are tried, so that a study may grow and
    Optuna still tells how important its parameters are.

    Args:
        entries: The hyperparameters of the build function.
    """

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._entries = tuple(entries)

    def encode(self, setting: Setting) -> tuple[dict[str, Any], dict[str, BaseDistribution]]:
        """Return the values, with distributions that hold every one."""
        params: dict[str, Any] = {"batch_size": setting.batch_size}
        distributions: dict[str, BaseDistribution] = {"batch_size": _batch_sizes(setting.batch_size)}
        if setting.learning_rate is not None:
            params["learning_rate"] = setting.learning_rate
            distributions["learning_rate"] = _learning_rates(setting.learning_rate)
        chosen = dict(setting.hyperparameters)
        for entry in self._entries:
            if entry.name in chosen and entry.name not in RESERVED_NAMES and entry.is_active(chosen):
                distribution = distribution_of(entry)
                if distribution is not None:
                    params[entry.name], distributions[entry.name] = chosen[entry.name], distribution
        return params, distributions


def _batch_sizes(size: int) -> IntDistribution:
    return IntDistribution(1, 2**20 if size <= 2**20 else 2**40, log=True)


def _learning_rates(rate: float) -> FloatDistribution:
    low, high = (1e-8, 1e2) if 1e-8 <= rate <= 1e2 else (1e-30, 1e30)
    return FloatDistribution(low, high, log=True)


class Study:
    """What was tried and measured: the truth that everything else is rebuilt from.

    A trial is written whole before it starts, in one write, and again when it has ended; so whatever dies, whenever, a
    reader knows of each trial that it ran, how it ended, or that it runs again.

    Before `open` it holds nothing.

    Args:
        name: The study's name.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.records = Records()
        self._opened: _Opened | None = None

    @property
    def is_open(self) -> bool:
        """Whether the study has been opened."""
        return self._opened is not None

    @property
    def objective(self) -> Objective:
        """The objective of the study.

        Raises:
            ValueError: If it has not been opened.
        """
        return self._open.objective

    def open(
        self,
        storage: BaseStorage,
        objective: Objective,
        device_kind: str = "",
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """Read what the storage holds; trials that a dead driver left running are interrupted.

        Args:
            storage: The storage, in which the study exists.
            objective: The metric that decides.
            device_kind: The kind of device to be used; measurements of another kind do not count.
            check: Called before each write, and after that of a new trial; raises where another driver has the study.
        """
        study_id = storage.get_study_id_from_name(self.name)
        self._opened = _Opened(storage, study_id, objective, device_kind, check)
        machines = self.recall(_MACHINE) or {}
        self.records = Records(machine=Machine.from_json(machines.get(device_kind, {})))
        for frozen in storage.get_all_trials(study_id, deepcopy=False):
            trial = read_trial(frozen.user_attrs, has_ended=True)
            if frozen.state is TrialState.RUNNING:
                self._end_for_optuna(storage.get_trial_id_from_study_id_trial_number(study_id, frozen.number), trial)
            if trial is not None and not self._is_settled(trial.trial_id):
                self.records.put(trial)
        self.lengthen()

    def lengthen(self) -> None:
        """Have trials of a grid go on that ended well after fewer epochs than it has now: they count as interrupted.

        No other search lengthens its trials, for what it tries next depends on how the earlier ones ended.
        """
        settings = self.recall(SETTINGS) or {}
        if settings.get("search") != "grid":
            return
        epochs = int(settings["epochs"])
        for trial in list(self.records):
            if trial.status is Status.COMPLETED and trial.budget.epochs < epochs:
                self.records.put(_to_go_on(trial, epochs))

    def _is_settled(self, trial_id: str) -> bool:
        """Return whether a trial of that name has been read that settles it.

        A driver that was stopped within a write, and wakes up after another has taken over, may write its trial a
        second time: Optuna tries up to five times to create one (optuna 5.0.0).
        """
        return trial_id in self.records and self.records[trial_id].is_settled

    def start(self, planned: Trial, encoder: Encoder) -> Trial:
        """Write down a trial that is about to start.

        Args:
            planned: The trial.
            encoder: How Optuna is told of its setting.

        Returns:
            The trial, with its name.
        """
        opened = self._open
        opened.check()
        name = f"{opened.n_trials:04d}"
        known = planned.reports if planned.instructions.continues else ()
        reports = tuple(replace(report, trial_id=name) for report in known)
        trial = replace(planned, trial_id=name, reports=reports, outcome=None, score=None)
        params, distributions = encoder.encode(trial.setting)
        template = create_trial(
            state=TrialState.RUNNING,
            params=params,
            distributions=distributions,
            user_attrs={
                OPENING: opening_of(trial),
                "seed": trial.seed,
                "stage": trial.stage,
            },  # the last two for people
        )
        optuna_id = opened.storage.create_new_trial(opened.study_id, template)
        opened.check()  # the write itself may have taken so long that another driver has taken over
        opened.n_trials += 1
        opened.optuna_ids[trial.trial_id] = optuna_id
        self.records.put(trial)
        return trial

    def report(self, report: EpochReport) -> Trial:
        """Take in what an epoch of a running trial measured; it is written when the trial ends."""
        before = self.records[report.trial_id]
        trial = replace(before, reports=(*before.reports, report))
        self.records.put(trial)
        return trial

    def finish(self, outcome: TrialOutcome) -> Trial:
        """Write down how a trial ended.

        A trial that is lost runs again, but not for ever: after `MOST_LOSSES` reruns it has failed.
        """
        trial = self.records[outcome.trial_id]
        if outcome.status is Status.LOST and self.records.losses(trial) >= MOST_LOSSES:
            reason = f"It was lost {MOST_LOSSES + 1} times; the last time: {outcome.reason}"
            outcome = replace(outcome, status=Status.FAILED, reason=reason)
        ended = replace(trial, outcome=outcome, score=self._score(trial, outcome))
        self._open.check()
        optuna_id = self._open.optuna_ids[trial.trial_id]
        self._tell(optuna_id, ended, {CLOSING: closing_of(ended)})
        self.records.put(ended)
        return ended

    @property
    def device_kind(self) -> str:
        """The kind of device that is measured, to which `records.machine` belongs.

        Raises:
            ValueError: If the study has not been opened.
        """
        return self._open.device_kind

    def measure_on(self, device_kind: str) -> None:
        """Measure another kind of device from now on; what was measured of each is kept apart."""
        self._open.device_kind = device_kind
        self.records.machine = Machine.from_json((self.recall(_MACHINE) or {}).get(device_kind, {}))

    def measured(self, machine: Machine) -> None:
        """Keep what was measured of the machine, so that a search which goes on measures nothing again."""
        known = self.recall(_MACHINE) or {}
        self.remember(_MACHINE, {**known, self._open.device_kind: machine.to_json()})
        self.records.machine = machine

    def remember(self, name: str, value: Any) -> None:
        """Keep a fact with the study: plain JSON values."""
        self._open.check()
        self._open.storage.set_study_user_attr(self._open.study_id, name, value)

    def recall(self, name: str) -> Any:
        """Return a fact that was kept; None if there is none, or the study has not been opened."""
        if self._opened is None:
            return None
        facts: Mapping[str, Any] = self._opened.storage.get_study_user_attrs(self._opened.study_id)
        return facts.get(name)

    @property
    def _open(self) -> _Opened:
        if self._opened is None:
            raise ValueError("No study is open yet; call the tuner's search() first.")
        return self._opened

    def _score(self, trial: Trial, outcome: TrialOutcome) -> float | None:
        """Return the objective of the weights that a training ended with; KerasTuner takes the luckiest epoch."""
        if outcome.status is not Status.COMPLETED or not trial.reports:
            return None
        epoch = outcome.weights_epoch or len(trial.reports)
        return trial.reports[epoch - 1].metrics[self._open.objective.name]

    def _end_for_optuna(self, optuna_id: int, trial: Trial | None) -> None:
        """End what a dead driver left running, as it really ended if that had been written."""
        if trial is None:
            self._open.storage.set_trial_state_values(optuna_id, TrialState.FAIL)
        else:
            self._tell(optuna_id, trial)

    def _tell(self, optuna_id: int, trial: Trial, attributes: Mapping[str, Any] = MappingProxyType({})) -> None:
        """Tell Optuna how a trial ended, and of a stopped one the curve that it had reached."""
        assert trial.status is not None
        stopped = trial.status is Status.PRUNED
        curve = dict(zip(*trial.curve(self._open.objective.name), strict=True)) if stopped else {}
        state = _OPTUNA_STATE.get(trial.status, TrialState.FAIL)
        if state is TrialState.COMPLETE and not trial.scored:
            state = TrialState.FAIL  # Optuna refuses NaN as a value
        value = trial.score if state is TrialState.COMPLETE else None
        ending, storage = Ending(state, value, attributes, curve), self._open.storage
        if isinstance(storage, PatientStorage):
            storage.end_trial(optuna_id, ending)
        else:
            end_trial(storage, optuna_id, ending)


def _to_go_on(trial: Trial, epochs: int) -> Trial:
    assert trial.outcome is not None
    reason = f"it goes on from epoch {trial.budget.epochs} to epoch {epochs}, as another trial"
    outcome = replace(trial.outcome, status=Status.INTERRUPTED, reason=reason)
    return replace(trial, budget=replace(trial.budget, epochs=epochs), outcome=outcome, score=None)


class _Opened:
    """What an open study writes to."""

    def __init__(
        self,
        storage: BaseStorage,
        study_id: int,
        objective: Objective,
        device_kind: str,
        check: Callable[[], None],
    ) -> None:
        self.storage, self.study_id, self.check = storage, study_id, check
        self.objective, self.device_kind = objective, device_kind
        self.n_trials = storage.get_n_trials(study_id)
        self.optuna_ids: dict[str, int] = {}
