"""Small real implementations that stand in for slow ones."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping
from typing import Any

from tuning.messages import DescribeRequest, Event, ModelDescription, Request
from tuning.study.records import TrialRecord
from tuning.trial import EpochReport, Status, TrialOutcome, TrialRequest

Script = Callable[[TrialRequest], TrialOutcome | list[float]]


def description(**changes: Any) -> ModelDescription:
    """What a model without hyperparameters of its own describes itself as."""
    values: dict[str, Any] = {
        "trial_id": "describe",
        "hyperparameters": {"space": [], "values": {}},
        "optimizer": "Adam",
        "learning_rate": 0.001,
        "learning_rate_name": None,
        "metrics": ("accuracy", "loss"),
        "parameters": 10,
        "has_batch_normalization": False,
    }
    return ModelDescription(**{**values, **changes})


def _no_trial(request: TrialRequest) -> TrialOutcome:
    raise AssertionError(f"no trial was expected; got {request}")


class ScriptedExecutor:
    """Runs trials by a function of the request: the epochs' val_accuracy, or an outcome.

    Args:
        script: Called once for each trial.
        devices: Names; a device's trial ends when its turn comes in `events`.
        described: The answer to a `DescribeRequest`.
        probes: Answers every other request.
    """

    def __init__(
        self,
        script: Script = _no_trial,
        *,
        devices: tuple[str, ...] = ("cpu:0",),
        described: Event | None = None,
        probes: Callable[[Any], Event] | None = None,
    ) -> None:
        self.devices = devices
        self.requests: list[TrialRequest] = []
        self.probed: list[Request] = []
        self.shutdowns = 0
        self.provided: set[int | None] = {None}
        self._probes = probes
        self._script, self._described = script, described or description()
        self._running: dict[str, deque[Event]] = {}

    def provide(self, threads: Collection[int | None]) -> None:
        self.provided = set(threads)

    def submit(self, request: Request, device: str) -> None:
        assert device in self.devices
        assert device not in self._running
        if isinstance(request, DescribeRequest):
            self._running[device] = deque([self._described])
        elif not isinstance(request, TrialRequest):
            assert self._probes is not None
            self.probed.append(request)
            self._running[device] = deque([self._probes(request)])
        else:
            self.requests.append(request)
            self._running[device] = deque(_events(request, self._script(request)))

    def events(self, timeout_s: float) -> list[Event]:
        device, waiting = next(iter(self._running.items()))
        event = waiting.popleft()
        del self._running[device]
        if waiting:
            self._running[device] = waiting  # behind the others, so that devices take turns
        return [event]

    def stop(self, trial_id: str) -> None:
        for device, waiting in self._running.items():
            if waiting and waiting[-1].trial_id == trial_id:
                self._running[device] = deque([TrialOutcome(trial_id, Status.PRUNED, reason="stopped")])

    @property
    def is_shut_down(self) -> bool:
        return self.shutdowns > 0

    def shutdown(self) -> None:
        self.shutdowns += 1
        self._running.clear()


def _events(request: TrialRequest, scripted: TrialOutcome | list[float]) -> list[Event]:
    if isinstance(scripted, TrialOutcome):
        return [scripted]
    reports: list[Event] = [
        EpochReport(
            request.trial_id, epoch, 1000 * epoch, epoch, {"val_accuracy": value, "loss": 1 - value}, 0.1 * epoch
        )
        for epoch, value in enumerate(scripted, start=1)
    ]
    outcome = TrialOutcome(
        request.trial_id,
        Status.COMPLETED,
        seconds=1.0 / request.batch_size,
        examples_per_second=100.0 * request.batch_size,
        peak_memory_bytes=1000 * request.batch_size,
        loop="device" if request.loop == "auto" else request.loop,
        settings={"steps_per_execution": 45, "jit_compile": False},
    )
    return [*reports, outcome]


class RecordingTracker:
    """Keeps in memory what it is told."""

    tracking_uri = ""  # nowhere that a report could go
    experiment_id = "1"

    def __init__(self) -> None:
        self.settings: dict[str, str] = {}
        self.params: dict[str, Mapping[str, Any]] = {}
        self.epochs: dict[str, list[EpochReport]] = {}
        self.outcomes: dict[str, TrialOutcome] = {}
        self.recommendation: Mapping[str, Any] = {}
        self.reconciled: tuple[set[str], set[str]] = (set(), set())

    def prepare(self) -> None:
        """Nothing takes time here."""

    def fresh(self, study: str) -> None:
        self.__init__()  # starting over is what it means

    def start_study(self, study: str, settings: Mapping[str, str]) -> None:
        self.settings = {"study": study, **settings}

    def reconcile(self, finished: Any, interrupted: Any) -> None:
        self.reconciled = (set(finished), set(interrupted))

    def missing(self, finished: Any) -> set[str]:
        return set(finished) - self.outcomes.keys()

    def start_trial(self, trial_id: str, params: Mapping[str, Any], stage: str) -> None:
        self.params[trial_id] = {**params, "stage": stage}
        self.epochs[trial_id] = []

    def log_epoch(self, report: EpochReport) -> None:
        self.epochs[report.trial_id].append(report)

    def end_trial(self, outcome: TrialOutcome) -> None:
        self.outcomes[outcome.trial_id] = outcome

    def log_recommendation(self, recommendation: Mapping[str, Any], markdown: str, files: Any = None) -> None:
        self.recommendation = recommendation

    def flush(self) -> None:
        pass


class SilentDisplay:
    """Shows nothing."""

    def started(self, record: TrialRecord, device: str) -> None:
        pass

    def reported(self, epoch: EpochReport) -> None:
        pass

    def ended(self, record: TrialRecord) -> None:
        pass
