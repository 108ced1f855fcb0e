"""Small real implementations that stand in for slow ones."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tuning.messages import DescribeRequest, Event, Measurement, ModelDescription, Request
from tuning.run.executor import Device
from tuning.run.memory_limit import MemoryLimit
from tuning.trial import EpochReport, Status, Trial, TrialOutcome

Script = Callable[[Trial], TrialOutcome | list[float]]


def description(**changes: Any) -> ModelDescription:
    """What a model without hyperparameters of its own describes itself as."""
    values: dict[str, Any] = {
        "trial_id": "describe",
        "entries": (),
        "optimizer": "Adam",
        "learning_rate": 0.001,
        "learning_rate_name": None,
        "metrics": ("accuracy", "loss"),
        "parameters": 10,
        "has_batch_normalization": False,
    }
    return ModelDescription(**{**values, **changes})


def device(name: str = "cpu:0", **changes: Any) -> Device:
    """A device of a made-up machine of 8 GiB, as its worker would tell it."""
    values: dict[str, Any] = {
        "name": name,
        "kind": "Imaginary 9000",
        "node": "here",
        "is_gpu": name.startswith("gpu"),
        "cores": 2,
        "threads": 2,
        "memory": MemoryLimit(8 * 2**30, "available memory"),
    }
    return Device(**{**values, **changes})


def lost(trial: Trial, reason: str = "The worker was killed by SIGKILL from outside.") -> TrialOutcome:
    """The outcome of a trial whose worker went away, for a script to return."""
    return TrialOutcome(trial.trial_id, Status.LOST, reason=reason, exit_code=-9)


def _no_trial(trial: Trial) -> TrialOutcome:
    raise AssertionError(f"no trial was expected; got {trial}")


class ScriptedExecutor:
    """Runs trials by a function of the trial: the epochs' val_accuracy, or an outcome such as `lost(trial)`.

    A script, or `when_idle`, may call `join` and `leave` to change the devices.

    Args:
        script: Called once for each trial.
        devices: Records, or names of made-up ones; a device's trial ends when its turn comes in `events`.
        described: The answer to a `DescribeRequest`.
        probes: Answers every other request; None fails them all.
        when_idle: Called when events are asked for while nothing runs, as when all devices have left.
    """

    def __init__(
        self,
        script: Script = _no_trial,
        *,
        devices: Sequence[str | Device] = ("cpu:0",),
        described: Event | None = None,
        probes: Callable[[Any], Event] | None = None,
        when_idle: Callable[[], None] = lambda: None,
    ) -> None:
        records = [known if isinstance(known, Device) else device(known) for known in devices]
        self._devices = {record.name: record for record in records}
        self.requests: list[Trial] = []
        self.probed: list[Request] = []
        self.submitted: list[tuple[str, str]] = []
        self.stopped: list[str] = []
        self.renewed: list[str] = []
        self.closes = 0
        self._probes, self._when_idle = probes or _nothing_is_measured, when_idle
        self._script, self._described = script, described or description()
        self._running: dict[str, deque[Event]] = {}
        self._idle_calls = 0

    def devices(self) -> tuple[Device, ...]:
        return tuple(self._devices.values())

    def join(self, joining: str | Device) -> None:
        """A device starts to work."""
        record = joining if isinstance(joining, Device) else device(joining)
        self._devices[record.name] = record

    def leave(self, name: str) -> None:
        """A device goes away; what runs there is lost."""
        del self._devices[name]
        if name in self._running:
            trial_id = self._running[name][-1].trial_id
            self._running[name] = deque([TrialOutcome(trial_id, Status.LOST, reason=f"{name} went away.")])

    def submit(self, request: Trial | Request, device: str) -> None:
        assert device in self._devices
        assert device not in self._running
        self.submitted.append((request.trial_id, device))
        if isinstance(request, Trial):
            self.requests.append(request)
            events = _events(request, self._script(request))
        elif isinstance(request, DescribeRequest):
            events = [self._described]
        else:
            self.probed.append(request)
            events = [self._probes(request)]
        if device not in self._devices:  # the script had it leave
            events = [TrialOutcome(request.trial_id, Status.LOST, reason=f"{device} went away.")]
        self._running[device] = deque(events)

    def events(self, timeout_s: float) -> list[Event]:
        if not self._running:
            self._idle_calls += 1
            assert self._idle_calls < 1000, "The driver waits for ever: nothing runs."
            self._when_idle()
            return []
        self._idle_calls = 0
        device, waiting = next(iter(self._running.items()))
        event = waiting.popleft()
        del self._running[device]
        if waiting:
            self._running[device] = waiting  # behind the others, so that devices take turns
        return [event]

    def stop(self, trial_id: str) -> None:
        self.stopped.append(trial_id)
        for device, waiting in self._running.items():
            if waiting and waiting[-1].trial_id == trial_id:
                self._running[device] = deque([TrialOutcome(trial_id, Status.PRUNED, reason="stopped")])

    def renew(self, device: str) -> None:
        assert device in self._devices
        self.renewed.append(device)
        self._running.pop(device, None)

    @property
    def is_closed(self) -> bool:
        return self.closes > 0

    def close(self) -> None:
        self.closes += 1
        self._running.clear()


def _nothing_is_measured(request: Any) -> Event:
    return TrialOutcome(request.trial_id, Status.FAILED, reason="Nothing is measured here.")


def _events(trial: Trial, scripted: TrialOutcome | list[float]) -> list[Event]:
    if isinstance(scripted, TrialOutcome):
        return [scripted]
    reports: list[Event] = [
        EpochReport(trial.trial_id, epoch, 1000 * epoch, epoch, {"val_accuracy": value, "loss": 1 - value}, 0.1 * epoch)
        for epoch, value in enumerate(scripted, start=1)
    ]
    loop = trial.instructions.loop
    outcome = TrialOutcome(
        trial.trial_id,
        Status.COMPLETED,
        seconds=1.0 / trial.batch_size,
        examples_per_second=100.0 * trial.batch_size,
        peak_memory_bytes=1000 * trial.batch_size,
        loop="device" if loop == "auto" else loop,
        settings={"steps_per_execution": 45, "jit_compile": False},
    )
    return [*reports, outcome]


class RecordingTracker:
    """Keeps in memory what it is told."""

    tracking_uri = ""  # nowhere that a report could go
    experiment_id = "1"

    def __init__(self) -> None:
        self.settings: dict[str, str] = {}
        self.trials: dict[str, Trial] = {}
        self.params: dict[str, Mapping[str, Any]] = {}
        self.epochs: dict[str, list[EpochReport]] = {}
        self.outcomes: dict[str, TrialOutcome] = {}
        self.measurements: dict[str, Measurement] = {}
        self.recommendation: Mapping[str, Any] = {}
        self.deciding: dict[str, Mapping[str, float]] = {}
        self.reconciled: tuple[set[str], set[str]] = (set(), set())
        self.closes = 0

    def prepare(self) -> None:
        """Nothing takes time here."""

    def fresh(self, study: str) -> None:
        self.__init__()  # starting over is what it means

    def start_study(self, study: str, settings: Mapping[str, str]) -> None:
        self.settings = {"study": study, **settings}

    def reconcile(self, finished: Any, interrupted: Any) -> None:
        self.reconciled = (set(finished), set(interrupted))

    def missing(self, ended: Any) -> set[str]:
        return set(ended) - self.outcomes.keys()

    def start_trial(self, trial: Trial) -> None:
        self.trials[trial.trial_id] = trial
        own = {"seed": trial.seed, "epochs": trial.budget.epochs, "stage": trial.stage}
        self.params[trial.trial_id] = {**trial.values, **own}
        self.epochs[trial.trial_id] = []
        self.outcomes.pop(trial.trial_id, None)

    def epoch(self, report: EpochReport) -> None:
        self.epochs[report.trial_id].append(report)

    def end_trial(self, outcome: TrialOutcome) -> None:
        self.outcomes[outcome.trial_id] = outcome

    def measured(self, measurement: Measurement) -> None:
        self.measurements[measurement.name] = measurement

    def recommended(
        self, recommendation: Mapping[str, Any], markdown: str, files: Any = None, deciding: Any = None
    ) -> None:
        self.recommendation = recommendation
        self.deciding = dict(deciding or {})

    def close(self) -> None:
        self.closes += 1


class SilentDisplay:
    """Shows nothing."""

    def expect(self, total: int) -> None:
        pass

    def started(self, trial: Trial, device: str) -> None:
        pass

    def reported(self, report: EpochReport) -> None:
        pass

    def ended(self, trial: Trial) -> None:
        pass

    def tell(self, line: str) -> None:
        pass
