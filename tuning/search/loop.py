"""SearchLoop: asks a plan for trials, has them run on whatever devices there are, and records what comes back."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from tuning.plans.halving import Halving
from tuning.plans.plan import Decision, Pause, Plan, Wish
from tuning.record.tracker import Tracker
from tuning.run.asking import PATIENCE_S
from tuning.run.executor import Device, DeviceError, Executor
from tuning.search.placing import Placing
from tuning.stats.kinds import DEVICE_KIND, NODE
from tuning.study.study import Study
from tuning.trial import EpochReport, Status, Trial, TrialOutcome

_POLL_S = 0.5


@dataclass
class Deadline:
    """A moment on a clock, after which a search starts no trials.

    Args:
        at: The moment, in seconds of the clock.
        now: The clock.
    """

    at: float = math.inf
    now: Callable[[], float] = time.monotonic

    @classmethod
    def after(cls, seconds: float | None) -> Deadline:
        """Return the moment so many seconds from now; None for never."""
        return cls() if seconds is None else cls(time.monotonic() + seconds)

    @property
    def is_past(self) -> bool:
        """Whether the moment has come."""
        return self.now() >= self.at


class Display(Protocol):
    """Shows people how a search is going."""

    def expect(self, total: int) -> None:
        """So many trials are planned by now."""

    def started(self, trial: Trial, device: str) -> None:
        """A trial has been handed to a device."""

    def reported(self, report: EpochReport) -> None:
        """A running trial has finished an epoch."""

    def ended(self, trial: Trial) -> None:
        """A trial has ended."""


class Assistant(Protocol):
    """What a loop leaves to others: how a trial is to be trained, and what a plan wants measured."""

    def instruct(self, trial: Trial) -> Trial:
        """Return a trial with the instructions that its worker needs."""

    def measure(self, wish: Wish) -> None:
        """Measure what a plan needs, and keep it with the study; all devices are idle."""

    def trial_ended(self, trial: Trial) -> None:
        """Tidy up after a trial."""


class SearchLoop:
    """Runs a study until its plan is done and nothing is owed, or its time is up.

    Interrupted and lost trials run again first, then those that halving stopped in vain, then what the plan names. A
    plan is asked until its first answer that is no trial; it is asked again when something has happened.

    Args:
        study: The record.
        plan: Decides what comes next.
        executor: Runs trials.
        tracker: Shows them in MLflow.
        display: Shows them in the terminal.
        assistant: Does what is left to others.
        halving: Which running trials are stopped.
        placing: Which device a trial is given to; None for the first that is idle.
        retries: How often a trial that failed runs again; one whose worker crashed does so once in any case, since a
            crash says less than an error.
        most_failures: After so many failed trials in a row no further one is started; None for no end.
        trial_timeout_s: A trial that runs longer has failed, and its worker is replaced; None for no limit.
        deadline: Then no trial is started but a study's first, and those that run are ended at their next epoch, to run
            again when the search goes on; but they may end while no trial has a score.
    """

    def __init__(
        self,
        study: Study,
        plan: Plan,
        executor: Executor,
        tracker: Tracker,
        display: Display,
        *,
        assistant: Assistant,
        halving: Halving,
        placing: Placing | None = None,
        retries: int = 0,
        most_failures: int | None = None,
        trial_timeout_s: float | None = None,
        deadline: Deadline | None = None,
    ) -> None:
        self._study, self._plan, self._executor = study, plan, executor
        self._tracker, self._display, self._assistant = tracker, display, assistant
        self._halving, self._deadline = halving, deadline or Deadline()
        self._placing = placing or Placing()
        self._waiting: list[Trial] = []
        self._retries, self._most_failures = retries, most_failures
        self._trial_timeout_s = math.inf if trial_timeout_s is None else trial_timeout_s
        self._begun: dict[str, float] = {}
        self._failures: list[str] = []
        self._devices: dict[str, Device] = {}
        self._stopped: set[str] = set()
        self._late: set[str] = set()

    def run(self) -> None:
        """Run to the end. On Ctrl-C the running trials are recorded as interrupted, and KeyboardInterrupt goes on.

        Raises:
            DeviceError: If every device has gone and none comes back.
        """
        ended: list[Trial] = []
        lonely_since: float | None = None
        try:
            while not self._is_over():
                self._tell(ended)  # what MLflow shows is written while the devices work
                lonely_since = self._check_devices(lonely_since)
                self._collect(ended)
                self._end_overdue(ended)
                self._stop_if_late()
            self._tell(ended)
        except KeyboardInterrupt:
            self._executor.close()
            for trial_id in list(self._devices):
                outcome = TrialOutcome(trial_id, Status.INTERRUPTED, reason="interrupted from the keyboard")
                ended.append(self._finish(outcome))
            self._tell(ended)
            raise

    def _is_over(self) -> bool:
        """Start what can be started, and return whether nothing runs and nothing is left to start."""
        decision: Decision | None = None
        idle, there = self._idle_devices(), self._executor.devices()
        while idle:
            decision = self._decide()
            if not isinstance(decision, Trial):
                break
            device = self._placing.device_for(decision, idle, there)
            if device is None:
                self._waiting.append(decision)
                break
            idle.remove(device)
            self._start(decision, device)
        if self._devices or decision is None:  # none is idle and none is busy: all devices have gone for now
            return False
        if not isinstance(decision, Pause | Trial):
            self._assistant.measure(decision)
            self._display.expect(self._plan.total(self._study.records))
        return decision is Pause.DONE

    def _decide(self) -> Decision:
        records = self._study.records
        if self._deadline.is_past and len(records):
            return Pause.DONE
        if self._most_failures is not None and len(self._failures) >= self._most_failures:
            return Pause.DONE
        if self._waiting:
            return self._waiting.pop()
        again = records.interrupted_to_rerun() or self._halving.starved(records)
        return again or self._plan.next(records)

    def _idle_devices(self) -> list[Device]:
        busy = {device.name for device in self._devices.values()}
        return [device for device in self._executor.devices() if device.name not in busy]

    def _start(self, planned: Trial, device: Device) -> None:
        trial = self._study.start(self._assistant.instruct(planned), self._plan.encoder)
        self._devices[trial.trial_id] = device
        self._begun[trial.trial_id] = self._deadline.now()
        self._executor.submit(trial, device.name)
        self._tracker.start_trial(trial)
        self._display.started(trial, device.name)
        for report in trial.reports:  # of the epochs that it goes on from
            self._tracker.epoch(report)
            self._display.reported(report)

    def _collect(self, ended: list[Trial]) -> None:
        """Wait for what happens next; trials that have ended are recorded and added to a list."""
        for event in self._executor.events(_POLL_S):
            if event.trial_id not in self._devices:
                continue  # an answer that nobody waits for any more
            if isinstance(event, EpochReport):
                self._report(event)
            elif isinstance(event, TrialOutcome):
                ended.append(self._finish(event))

    def _report(self, report: EpochReport) -> None:
        trial = self._study.report(report)
        if report.trial_id not in self._stopped and self._halving.should_stop(trial, self._study.records):
            self._stopped.add(report.trial_id)
            self._executor.stop(report.trial_id)
        self._tracker.epoch(report)
        self._display.reported(report)

    def _end_overdue(self, ended: list[Trial]) -> None:
        """End trials that run longer than any may; nothing but a new worker ends one that hangs."""
        now = self._deadline.now()
        for trial_id, device in list(self._devices.items()):
            if now - self._begun[trial_id] > self._trial_timeout_s:
                self._executor.renew(device.name)
                reason = f"It ran longer than the limit of {self._trial_timeout_s:g} s for a trial, and was ended."
                ended.append(self._finish(TrialOutcome(trial_id, Status.FAILED, reason=reason)))

    def _stop_if_late(self) -> None:
        """End what runs after the deadline, if there is something to answer with."""
        if self._deadline.is_past and self._study.records.n_scored:
            for trial_id in self._devices.keys() - self._late:
                self._late.add(trial_id)
                self._executor.stop(trial_id)

    def _finish(self, outcome: TrialOutcome) -> Trial:
        """Record an outcome with where it came from; its device is idle from now on."""
        device = self._devices.pop(outcome.trial_id)
        del self._begun[outcome.trial_id]
        outcome = replace(outcome, settings={**outcome.settings, DEVICE_KIND: device.kind, NODE: device.node})
        if outcome.trial_id in self._late and outcome.status is Status.PRUNED:
            outcome = replace(outcome, status=Status.INTERRUPTED, reason="the time was up")
        records = self._study.records
        outcome = self._placing.judged(outcome, records[outcome.trial_id], device, self._executor.devices())
        chances = max(self._retries, int(outcome.has_crashed))
        if outcome.status is Status.FAILED and records.losses(records[outcome.trial_id]) < chances:
            outcome = replace(outcome, status=Status.LOST, reason=f"It runs again, as it failed: {outcome.reason}")
        ended = self._study.finish(outcome)
        if ended.status is Status.FAILED:
            self._failures.append(ended.trial_id)
        else:
            self._failures.clear()
        return ended

    def _tell(self, ended: list[Trial]) -> None:
        """Show people what has ended, and forget it."""
        while ended:
            trial = ended.pop(0)
            assert trial.outcome is not None
            self._tracker.end_trial(trial.outcome)
            self._assistant.trial_ended(trial)
            self._display.expect(self._plan.total(self._study.records))
            self._display.ended(trial)

    def _check_devices(self, lonely_since: float | None) -> float | None:
        """Return since when there has been no device; None while there is one."""
        if self._executor.devices():
            return None
        now = self._deadline.now()
        if lonely_since is not None and now - lonely_since > PATIENCE_S:
            raise DeviceError(f"A search needs a device; every one has gone for {PATIENCE_S:g} s. Start it again.")
        return now if lonely_since is None else lonely_since
