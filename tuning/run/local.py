"""LocalExecutor: persistent worker processes, one per device of this machine and number of CPU threads."""

from __future__ import annotations

import logging
import time
from collections import Counter
from multiprocessing.connection import Connection, wait

from tuning.messages import Event, MemoryProbeRequest, Request, ThroughputRequest
from tuning.run.executor import Device, DeviceError, MissingGpuError, WorkerSetup, check_cores
from tuning.run.process import WorkerProcess
from tuning.run.starter import Place, Starter, import_path
from tuning.run.wire import Brief, Refusal, pickle_setup, write_data
from tuning.trial import EpochReport, Status, Trial, TrialOutcome

_IDLE_REQUESTS = 10
"""A device's worker of one number of threads ends when so many requests in a row asked for others: an idle one holds
about 0.4 GB, a new one takes seconds to start."""


class LocalExecutor:
    """Runs each device's requests in a process of its own, which outlives them and is replaced when it dies.

    Requests that ask a CPU for other threads than the setup's run in a second process, of which one at a time works.
    The arrays that lie in no file are in a temporary folder until `close`. Linux ends a worker together with the thread
    that started it, so the thread that submits must live as long as the executor.

    Args:
        setup: What every worker needs once; or, where another engine has moved that to this machine, a `Brief` of where
            it lies, with a starter that knows the limits.
        devices: The devices' names, from `device_names`.
        starter: Has started the devices' workers, and is closed with the executor; None to start them now.
    """

    def __init__(self, setup: WorkerSetup | Brief, devices: tuple[str, ...], starter: Starter | None = None) -> None:
        self._names = devices
        payload = pickle_setup(setup) if isinstance(setup, WorkerSetup) else b""
        self._starter = starter or _starter_of(setup, devices)
        self._told: dict[str, Device] = {}
        self._refused: dict[str, str] = {}
        self._lacks_gpu = False
        self._submitted: Counter[str] = Counter()
        self._last_used: dict[Place, int] = {}
        self._waiting: list[Event] = []
        self._brief = setup if isinstance(setup, Brief) else _moved(setup, payload, self._starter)
        self._workers = {place: self._start(place) for place in map(self._starter.place, devices)}

    def devices(self) -> tuple[Device, ...]:
        """Return the devices whose workers have told of them; see `Executor`."""
        self._waiting += self._receive_all(0.0)  # told by the next `events`
        if self._names and len(self._refused) == len(self._names):
            kind = MissingGpuError if self._lacks_gpu else DeviceError
            raise kind(" ".join(dict.fromkeys(self._refused.values())))
        return tuple(self._told[name] for name in self._names if name in self._told)

    def submit(self, request: Trial | Request, device: str) -> None:
        """Start a request on an idle device; see `Executor`."""
        self._check(device)
        running = next((worker.request for worker in self._workers_of(device).values() if worker.request), None)
        if running is not None:
            raise ValueError(f"{device} must be idle; it runs {running.trial_id}. Wait for its outcome.")
        place = self._starter.place(device, _threads_of(request))
        self._look_ahead(request, place)
        self._living(place).submit(request)
        self._submitted[device] += 1
        self._last_used[place] = self._submitted[device]
        for other in self._workers_of(device) if len(self._names) == 1 else ():  # others measure when all are idle
            if self._submitted[device] - self._last_used[other] >= _IDLE_REQUESTS:
                self._discard(other)

    def events(self, timeout_s: float) -> list[Event]:
        """Return what has happened since the last call; see `Executor`."""
        deadline = time.monotonic() + timeout_s
        before = self._changes()
        waiting, self._waiting = self._waiting, []
        if waiting:
            return waiting
        while True:
            found = self._receive_all(max(0.0, deadline - time.monotonic()))
            if found or self._changes() != before or time.monotonic() >= deadline:
                return found

    def stop(self, trial_id: str) -> None:
        """Ask a running trial to stop at its next epoch; see `Executor`."""
        for worker in self._workers.values():
            if worker.request is not None and worker.request.trial_id == trial_id:
                worker.stop(trial_id)

    def renew(self, device: str) -> None:
        """End a device's workers, whatever they do, and start a fresh one; see `Executor`."""
        self._check(device)
        for place in self._workers_of(device):
            self._discard(place)
        self._workers[self._starter.place(device)] = self._start(self._starter.place(device))

    def divide(self, parts: int) -> None:
        """Have so many devices of one CPU thread each from now on; see `Divisible`."""
        if len(self._names) != 1 or not self._names[0].startswith("cpu"):
            raise ValueError(f"What is divided must be one CPU; got {', '.join(self._names) or 'none (closed)'}.")
        check_cores("parts", parts)
        added = tuple(f"cpu:{number}" for number in range(1, parts))
        self._starter.add(added, threads=1)
        self._names += added
        for place in map(self._starter.place, added):
            self._workers[place] = self._start(place)

    def close(self) -> None:
        """End every worker and remove the arrays; see `Executor`."""
        for worker in self._workers.values():
            worker.dismiss()  # all of them first, so that they end side by side
        for worker in self._workers.values():
            worker.wait()
        self._workers.clear()
        self._told.clear()
        self._names = ()
        self._starter.close()

    def process_id(self, device: str, threads: int | None = None) -> int | None:
        """Return the process id of a device's worker with so many CPU threads, None while it has none."""
        worker = self._workers.get(self._starter.place(device, threads))
        return None if worker is None else worker.process_id

    def _check(self, device: str) -> None:
        usable = [name for name in self._names if name not in self._refused]
        if device not in usable:
            raise ValueError(f"The device must be one of {', '.join(usable) or 'none (closed)'}; got {device!r}.")

    def _look_ahead(self, request: Trial | Request, place: Place) -> None:
        """While memory is probed, start the next fresh worker; while anything else is asked, nothing starts."""
        if isinstance(request, MemoryProbeRequest) and self._starter.may_start_ahead:
            self._living(place)
            self._starter.start_ahead(place)
        else:
            self._starter.drop_ahead()

    def _workers_of(self, device: str) -> dict[Place, WorkerProcess]:
        return {place: worker for place, worker in self._workers.items() if place.device == device}

    def _living(self, place: Place) -> WorkerProcess:
        worker = self._workers.get(place)
        if worker is None or not worker.lives:
            self._discard(place)
            worker = self._workers[place] = self._start(place)
        return worker

    def _start(self, place: Place) -> WorkerProcess:
        self._last_used[place] = self._submitted[place.device]
        worker = self._starter.take(place)
        worker.brief(self._brief)
        return worker

    def _changes(self) -> tuple[int, int]:
        """Return how many devices have been told and refused, which change when a device joins or leaves."""
        return len(self._told), len(self._refused)

    def _receive_all(self, timeout_s: float) -> list[Event]:
        """Receive one message of each worker that has one, of those that work or are the first on their device."""
        found = [event for place in list(self._workers) for event in self._look_after(place)]
        expected = {
            worker.connection: place
            for place, worker in self._workers.items()
            if worker.request is not None or place.device not in self._told
        }
        ends = {self._workers[place].sentinel: place for place in expected.values()}
        for ready in wait([*expected, *(end for end in ends if end is not None)], 0.0 if found else timeout_s):
            assert isinstance(ready, Connection | int)
            place = expected[ready] if isinstance(ready, Connection) else ends[ready]
            if place not in self._workers:  # a refusal has just given up the whole device, or it is buried already
                continue
            if isinstance(ready, Connection) or self._workers[place].connection.poll():
                found += self._receive(place)
            else:  # it has ended, and a child of it holds its connection
                found += self._bury(place)
        return found

    def _look_after(self, place: Place) -> list[Event]:
        """End a worker that hangs."""
        worker = self._workers[place]
        if worker.request is None or not worker.pulse.hangs:
            return []
        outcome = worker.outcome_of_silence()
        self._discard(place)
        return [outcome]

    def _receive(self, place: Place) -> list[Event]:
        worker = self._workers[place]
        try:
            message = worker.connection.recv()
        except (EOFError, ConnectionResetError):
            return self._bury(place)
        worker.pulse.heard()
        if isinstance(message, Device):
            self._told.setdefault(place.device, message)
            return []
        if isinstance(message, Refusal):
            self._lacks_gpu = self._lacks_gpu or message.lacks_gpu
            return self._refuse(place, message.reason)
        if not isinstance(message, EpochReport):
            worker.request = None
        if isinstance(message, TrialOutcome) and self._has_spoilt(place, message):
            self._discard(place)
        return [message]

    def _has_spoilt(self, place: Place, outcome: TrialOutcome) -> bool:
        """Return whether a failure leaves its worker unfit for the next trial.

        After running out of memory TensorFlow keeps what it allocated; after any failure a GPU's context may be dead,
        and so is what adds up the gradients of several cards.
        """
        device = self._told.get(place.device)
        may_be_dead = device is not None and (device.is_gpu or device.cards > 1)
        return outcome.status is Status.OUT_OF_MEMORY or (may_be_dead and outcome.status is Status.FAILED)

    def _bury(self, place: Place) -> list[Event]:
        """Return what the death of a worker means; one that dies before it was asked anything cannot work there."""
        worker = self._workers[place]
        outcome = worker.outcome_of_death()
        if worker.request is None:
            return self._refuse(place, f"{place.device} cannot be used. {outcome.reason}")
        self._discard(place)
        return [outcome]

    def _refuse(self, place: Place, reason: str) -> list[Event]:
        """Give a device up that cannot work; what it was asked meanwhile is lost."""
        if len(self._names) > 1:  # of the only one `devices` tells
            logging.getLogger(__name__).warning(reason)
        requests = [worker.request for worker in self._workers_of(place.device).values() if worker.request is not None]
        self._told.pop(place.device, None)
        self._refused[place.device] = reason
        for other in self._workers_of(place.device):
            self._discard(other)
        return [TrialOutcome(request.trial_id, Status.LOST, reason=reason) for request in requests]

    def _discard(self, place: Place) -> None:
        worker = self._workers.pop(place, None)
        if worker is not None:
            self._starter.end(worker)


def _starter_of(setup: WorkerSetup | Brief, devices: tuple[str, ...]) -> Starter:
    """Start the workers of a setup."""
    if isinstance(setup, Brief):
        raise TypeError("A brief knows no limits of workers; give the starter that has started them.")
    return Starter(
        devices,
        threads=setup.threads,
        memory_limit_bytes=setup.memory_limit_bytes,
        holds_memory=setup.holds_memory,
        silence_limit_s=setup.silence_limit_s,
    )


def _moved(setup: WorkerSetup, payload: bytes, starter: Starter) -> Brief:
    """Write the data of a setup to where the workers find it."""
    directory = starter.directory / "data"
    try:
        write_data(setup.data, directory, in_place=True)
    except BaseException:  # such as of a full disk
        starter.close()
        raise
    return Brief(import_path(), payload, directory, setup.weights_directory)


def _threads_of(request: Trial | Request) -> int | None:
    if isinstance(request, Trial):
        return request.instructions.threads
    return request.threads if isinstance(request, ThroughputRequest) else None
