"""Executor: the face behind which trials run, small enough for another engine to fit."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tuning.messages import DescribeRequest, Event, Request
from tuning.trial import EpochReport, TrialRequest


@dataclass(frozen=True)
class WorkerSetup:
    """What every worker of a study needs once.

    Args:
        hypermodel: A build function or a `keras_tuner.HyperModel`; travels by value.
        data_directory: Where `write_data` put the arrays.
        log_directory: Where workers write their logs.
        callbacks: The user's Keras callbacks, copied for every trial.
        fit_options: Further arguments for Keras's `fit`.
        memory_limit_bytes: Resident memory that a CPU worker may use, None for no limit.
        threads: CPU threads of a worker on the CPU, None for an equal share of the cores.
    """

    hypermodel: Any
    data_directory: Path
    log_directory: Path
    callbacks: Sequence[Any] = ()
    fit_options: dict[str, Any] = field(default_factory=dict)
    memory_limit_bytes: int | None = None
    threads: int | None = None


class Executor(Protocol):
    """Runs requests on devices, one at a time on each, and reports what happens."""

    @property
    def devices(self) -> tuple[str, ...]:
        """Names of the devices, such as "gpu:0" or "cpu:0"."""

    def provide(self, threads: Collection[int | None]) -> None:
        """Have workers with these numbers of CPU threads on every CPU, None being the setup's, and no others: start
        what is missing, end what is idle. It saves time and memory; `submit` starts what it needs by itself.
        """

    def submit(self, request: Request, device: str) -> None:
        """Start a request on an idle device; trainings and timings on a CPU with the threads that they ask for.

        Raises:
            ValueError: If the device is busy or unknown.
        """

    def events(self, timeout_s: float) -> list[Event]:
        """What has happened since the last call, in order; waits up to `timeout_s` for the first event.

        Every submitted request ends in exactly one `TrialOutcome` or `Answer`, after which its device is idle again.
        A worker that dies is its request's outcome, nothing more.
        """

    def stop(self, trial_id: str) -> None:
        """Ask a running trial to stop at its next epoch; its outcome says PRUNED. Unknown trials are ignored."""

    def shutdown(self) -> None:
        """End every worker. Running requests are lost without an outcome; a further request starts a new worker."""


class InlineExecutor:
    """Runs a request when its events are asked for, on one device named "inline".

    Args:
        session: A `TrainingSession`.
    """

    def __init__(self, session: Any) -> None:
        self._session = session
        self._waiting: Request | None = None
        self._stopped: set[str] = set()

    @property
    def devices(self) -> tuple[str, ...]:
        return ("inline",)

    def provide(self, threads: Collection[int | None]) -> None:
        """Nothing: this process has the threads it has."""

    def submit(self, request: Request, device: str) -> None:
        if device != "inline" or self._waiting is not None:
            raise ValueError(f"The device must be 'inline' and idle; got {device!r}.")
        self._waiting = request

    def events(self, timeout_s: float) -> list[Event]:  # noqa: ARG002  (nothing to wait for)
        request, self._waiting = self._waiting, None
        if request is None:
            return []
        if isinstance(request, DescribeRequest):
            return [self._session.describe(request)]
        if not isinstance(request, TrialRequest):
            return [self._session.probe(request)]
        events: list[Event] = []

        def report(epoch: EpochReport) -> bool:
            events.append(epoch)
            return epoch.trial_id not in self._stopped

        events.append(self._session.train(request, report))
        return events

    def stop(self, trial_id: str) -> None:
        self._stopped.add(trial_id)

    def shutdown(self) -> None:
        self._waiting = None
