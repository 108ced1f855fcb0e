"""SearchLoop: asks for trials, has them run, and records what comes back."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from tuning.messages import Event
from tuning.record.tracker import Tracker
from tuning.run.executor import Executor
from tuning.study.oracle import OptunaOracle
from tuning.study.records import TrialRecord
from tuning.trial import EpochReport, HyperparameterValue, Status, TrialOutcome, TrialRequest

_POLL_S = 0.5


class Display(Protocol):
    """Shows people how a search is going."""

    def started(self, record: TrialRecord, device: str) -> None:
        """A trial has been handed to a device."""

    def reported(self, epoch: EpochReport) -> None:
        """A running trial has finished an epoch."""

    def ended(self, record: TrialRecord) -> None:
        """A trial has ended."""


class SearchLoop:
    """Runs a study until its plan is done or its time is up.

    Args:
        oracle: Decides what comes next, and keeps the record.
        executor: Runs trials.
        tracker: Shows them in MLflow.
        display: Shows them in the terminal.
        request_of: The request that runs a trial.
        after_trial: Called with every ended trial.
        deadline: Then no trial is started but a study's first, and those that run are ended at their next epoch, to be
            run again when the search goes on; but they may end while no trial has a score.
    """

    def __init__(
        self,
        oracle: OptunaOracle,
        executor: Executor,
        tracker: Tracker,
        display: Display,
        *,
        request_of: Callable[[TrialRecord], TrialRequest],
        after_trial: Callable[[TrialRecord], None] = lambda _: None,
        deadline: Deadline | None = None,
    ) -> None:
        self._oracle = oracle
        self._executor = executor
        self._tracker = tracker
        self._display = display
        self._request_of = request_of
        self._after_trial = after_trial
        self._deadline = deadline or Deadline()
        self._stopped: set[str] = set()
        self._late: set[str] = set()
        self._devices: dict[str, str] = {}
        self._epochs: dict[str, list[EpochReport]] = {}

    def run(self) -> None:
        """Run to the end. On Ctrl-C the running trials are recorded as interrupted, and KeyboardInterrupt goes on."""
        try:
            self._fill(*self._executor.devices)
            while self._devices:
                for event in self._executor.events(_POLL_S):
                    self._take(event)
                self._stop_if_late()
        except KeyboardInterrupt:
            self._executor.shutdown()
            for trial_id in list(self._devices):
                self._end(TrialOutcome(trial_id, Status.INTERRUPTED, reason="interrupted from the keyboard"))
            raise
        finally:
            self._tracker.flush()

    def _fill(self, *devices: str) -> None:
        """Give each idle device its next trial, if there is one."""
        for device in devices:
            if self._deadline.is_past and self._oracle.records:
                return
            trial: Any = self._oracle.create_trial(device)
            if trial.status != "RUNNING":
                continue
            record = self._oracle.record(trial.trial_id)
            self._devices[record.trial_id], self._epochs[record.trial_id] = device, []
            request = self._request_of(record)
            self._executor.submit(request, device)
            self._tracker.start_trial(record.trial_id, run_parameters(record, request.epochs), record.stage)
            self._display.started(record, device)

    def _take(self, event: Event) -> None:
        if isinstance(event, EpochReport):
            self._epochs[event.trial_id].append(event)
            if self._oracle.report(event) and event.trial_id not in self._stopped:
                self._stopped.add(event.trial_id)
                self._executor.stop(event.trial_id)
            self._tracker.log_epoch(event)
            self._display.reported(event)
        elif isinstance(event, TrialOutcome):
            self._end(event)

    def _stop_if_late(self) -> None:
        """End what runs after the deadline, if there is something to answer with."""
        if self._deadline.is_past and any(record.score is not None for record in self._oracle.records):
            for trial_id in self._devices.keys() - self._late:
                self._late.add(trial_id)
                self._executor.stop(trial_id)

    def _end(self, outcome: TrialOutcome) -> None:
        """Record the outcome, set the device to work again, and only then write what MLflow shows."""
        self._devices.pop(outcome.trial_id)
        if outcome.trial_id in self._late and outcome.status is Status.PRUNED:
            outcome = replace(outcome, status=Status.INTERRUPTED, reason="the time was up")
        record = self._oracle.finish(outcome, tuple(self._epochs.pop(outcome.trial_id)))
        if outcome.status is not Status.INTERRUPTED:
            busy = set(self._devices.values())
            self._fill(*(device for device in self._executor.devices if device not in busy))
        self._tracker.end_trial(outcome)
        self._after_trial(record)
        self._display.ended(record)


def run_parameters(record: TrialRecord, epochs: int) -> dict[str, HyperparameterValue]:
    """What MLflow shows as a run's parameters from its start."""
    return {**record.values, "seed": record.seed, "epochs": epochs}


def relog(oracle: OptunaOracle, tracker: Tracker, *, epochs: int) -> None:
    """Make MLflow agree with a study that is being continued: end dead runs, log again what never arrived."""
    ended = [record for record in oracle.records if record.outcome is not None]
    interrupted = {record.trial_id for record in ended if record.status is Status.INTERRUPTED}
    finished = {record.trial_id for record in ended} - interrupted
    tracker.reconcile(finished, interrupted)
    missing = tracker.missing(finished)
    for record in ended:
        if record.trial_id in missing and record.outcome is not None:
            given = record.budget.epochs if record.budget else epochs
            tracker.start_trial(record.trial_id, run_parameters(record, given), record.stage)
            for epoch in record.epochs:
                tracker.log_epoch(epoch)
            tracker.end_trial(record.outcome)


@dataclass
class Deadline:
    """A moment on a clock.

    Args:
        at: In seconds of the clock.
        now: The clock.
    """

    at: float = math.inf
    now: Callable[[], float] = time.monotonic

    @classmethod
    def after(cls, seconds: float | None) -> Deadline:
        """So many seconds from now; None for never."""
        return cls() if seconds is None else cls(time.monotonic() + seconds)

    @property
    def is_past(self) -> bool:
        """Whether it has come."""
        return self.now() >= self.at
