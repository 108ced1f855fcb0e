"""Executor: the face behind which trials run, small enough for another engine to fit; and one without processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from search_spaces.data import Data
from tuning.messages import DescribeRequest, Event, Request
from tuning.run.memory_limit import MemoryLimit
from tuning.trial import EpochReport, Trial


class DeviceError(RuntimeError):
    """No device of an executor can work; the message is one line that says why."""


@dataclass(frozen=True)
class Device:
    """Where one trial at a time trains, as the worker that sits there tells it.

    Args:
        name: The device's name, unique in its executor, such as "cpu:0" or "gpu:0".
        kind: The processor's or card's model, within which timings and memory can be compared.
        node: The host's name.
        is_gpu: Whether trainings run on a GPU.
        cores: The CPU cores that its workers may use.
        threads: The CPU threads of its workers, if a request does not ask for others.
        memory: The memory that a training there may use; workers that share a node's CPU share its memory.
    """

    name: str
    kind: str
    node: str
    is_gpu: bool
    cores: int
    threads: int
    memory: MemoryLimit


@dataclass(frozen=True)
class WorkerSetup:
    """What every worker of a study needs once. The engine that runs them moves it to where they are.

    Args:
        hypermodel: A build function or a `keras_tuner.HyperModel`; it travels by value.
        data: What every trial trains and validates on.
        callbacks: The user's Keras callbacks, copied for every trial.
        fit_options: Further arguments for Keras's `fit`.
        memory_limit_bytes: The memory that a worker may use, None for no limit of its own.
        threads: The CPU threads of a worker on the CPU, None for an equal share of the cores.
        weights_directory: Where the final weights of trials that keep them are put; None if none are kept.
        holds_memory: Whether a worker on the CPU is ended where it exceeds the memory that it told, also where no limit
            was asked for; a probe finds the end of memory in this known way.
    """

    hypermodel: Any
    data: Data
    callbacks: Sequence[Any] = ()
    fit_options: Mapping[str, Any] = field(default_factory=dict)
    memory_limit_bytes: int | None = None
    threads: int | None = None
    weights_directory: Path | None = None
    holds_memory: bool = False


class Executor(Protocol):
    """Runs requests on devices, one at a time on each, and reports what happens."""

    def devices(self) -> tuple[Device, ...]:
        """Return the devices that can work now, as their workers told of them.

        There may be more or fewer at each call, and none while the first worker starts. A device that was told once
        keeps its facts. What changes here ends the waiting of `events`.

        Raises:
            DeviceError: If no device can work, nor ever will.
        """

    def submit(self, request: Trial | Request, device: str) -> None:
        """Start a request on an idle device; trainings and timings on a CPU with the threads that they ask for.

        Raises:
            ValueError: If the device is busy or unknown.
        """

    def events(self, timeout_s: float) -> list[Event]:
        """Return what has happened since the last call, in order; wait up to `timeout_s` for the first event.

        Every submitted request ends in exactly one `TrialOutcome` or `Answer`, after which its device is idle again,
        unless `renew` or `close` drops it. A worker that dies is its request's outcome, nothing more; one that was
        killed from outside, or whose node went away, has status LOST.
        """

    def stop(self, trial_id: str) -> None:
        """Ask a running trial to stop at its next epoch; its outcome says PRUNED. Unknown trials are ignored."""

    def renew(self, device: str) -> None:
        """End a device's worker, whatever it does, and start a fresh one.

        A request that runs there is dropped without an outcome. A fresh worker's memory holds nothing of earlier
        trainings, which measurements of memory need; and a worker that hangs has no other end.

        Raises:
            ValueError: If the device is unknown.
        """

    def close(self) -> None:
        """End every worker and remove what was moved to them. Requests that run are dropped without an outcome."""


class InlineExecutor:
    """Runs a request in this very process when its events are asked for, on one device.

    Args:
        session: A `TrainingSession`.
        device: The device, such as `tuning.run.facts.this_process()` tells.
    """

    def __init__(self, session: Any, device: Device) -> None:
        self._session = session
        self._device = device
        self._waiting: Trial | Request | None = None
        self._stopped: set[str] = set()
        self._is_closed = False

    def devices(self) -> tuple[Device, ...]:
        """Return the one device."""
        return () if self._is_closed else (self._device,)

    def submit(self, request: Trial | Request, device: str) -> None:
        """Keep a request until its events are asked for."""
        self._check(device)
        if self._waiting is not None:
            raise ValueError(f"{device} must be idle; it runs {self._waiting.trial_id}. Wait for its outcome.")
        self._waiting = request

    def events(self, timeout_s: float) -> list[Event]:  # noqa: ARG002  (nothing to wait for)
        """Run the request that waits, if any, and return all its events."""
        request, self._waiting = self._waiting, None
        if request is None:
            return []
        if isinstance(request, DescribeRequest):
            return [self._session.describe(request)]
        if not isinstance(request, Trial):
            return [self._session.probe(request)]
        events: list[Event] = []

        def report(epoch: EpochReport) -> bool:
            events.append(epoch)
            return epoch.trial_id not in self._stopped

        events.append(self._session.train(request, report))
        return events

    def stop(self, trial_id: str) -> None:
        """Have a trial that waits end after its first epoch."""
        self._stopped.add(trial_id)

    def renew(self, device: str) -> None:
        """Drop the request that waits; this process cannot be replaced."""
        self._check(device)
        self._waiting = None

    def close(self) -> None:
        """Drop the request that waits, and take no more."""
        self._waiting = None
        self._is_closed = True

    def _check(self, device: str) -> None:
        if device not in {known.name for known in self.devices()}:
            usable = "none (closed)" if self._is_closed else self._device.name
            raise ValueError(f"The device must be one of {usable}; got {device!r}.")
