"""LocalExecutor: persistent worker processes, one per device of this machine and number of CPU threads."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NamedTuple

import cloudpickle

from tuning.loops.failures import status_of_exit
from tuning.messages import Event, Request, ThroughputRequest
from tuning.run import memory_limit
from tuning.run.devices import share_of_threads, worker_environment
from tuning.run.executor import WorkerSetup
from tuning.run.memory_limit import count_kills, may_have_killed
from tuning.trial import EpochReport, Status, TrialOutcome, TrialRequest
from tuning.worker import READY, STOP, Hello

_TAIL_BYTES = 4000
_GRACE_S = 5.0


class _Place(NamedTuple):
    """Where a worker runs: TensorFlow's threads are fixed when it starts, so that other threads are another process."""

    device: str
    threads: int


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    connection: Connection[Any, Any]
    log_path: Path
    request: Request | None = None
    has_worked: bool = False
    log_start: int = 0
    kills_before: int | None = None


class LocalExecutor:
    """Runs each device's requests in a process of its own, which outlives them and is replaced when it dies.

    Requests that ask a CPU for other threads than the setup's run in a second process, of which one at a time works.

    Args:
        setup: What every worker needs once.
        devices: From `device_names`.
    """

    def __init__(self, setup: WorkerSetup, devices: tuple[str, ...]) -> None:
        self._setup = setup
        self._devices = devices
        self._threads = setup.threads or share_of_threads(len(devices))
        self._workers: dict[_Place, _Worker] = {}
        self._payload = _pickle(setup)
        self._started = 0
        setup.log_directory.mkdir(parents=True, exist_ok=True)
        self.provide({None})  # at once, since each takes seconds to import TensorFlow

    @property
    def devices(self) -> tuple[str, ...]:
        return self._devices

    def provide(self, threads: Collection[int | None]) -> None:
        wanted = {self._place(device, number) for device in self._devices for number in threads}
        for place in [place for place, worker in self._workers.items() if place not in wanted and not worker.request]:
            self._discard(place)
        for place in sorted(wanted - self._workers.keys()):
            self._workers[place] = self._start(place)

    def submit(self, request: Request, device: str) -> None:
        if device not in self._devices:
            raise ValueError(f"The device must be one of {', '.join(self._devices)}; got {device!r}.")
        for place, worker in self._workers.items():
            if place.device == device and worker.request is not None:
                raise ValueError(f"{device} must be idle; it runs {worker.request.trial_id}. Wait for its outcome.")
        worker = self._worker(self._place(device, _threads_of(request)))
        worker.request, worker.has_worked = request, True
        worker.log_start = worker.log_path.stat().st_size
        worker.kills_before = count_kills()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            worker.connection.send(request)  # if it has just died, events() finds that out

    def events(self, timeout_s: float) -> list[Event]:
        deadline = time.monotonic() + timeout_s
        found: list[Event] = []
        while not found:
            busy = {worker.connection: place for place, worker in self._workers.items() if worker.request is not None}
            ready = wait(list(busy), max(0.0, deadline - time.monotonic()))
            for connection in ready:
                assert isinstance(connection, Connection)
                found += self._receive(busy[connection])
            if not ready:
                break
        return found

    def stop(self, trial_id: str) -> None:
        for worker in self._workers.values():
            if worker.request is not None and worker.request.trial_id == trial_id:
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    worker.connection.send((STOP, trial_id))

    def shutdown(self) -> None:
        for worker in self._workers.values():
            if worker.request is not None:
                worker.process.kill()
            _dismiss(worker)
        for worker in self._workers.values():
            _end(worker.process)
        self._workers.clear()

    def process_id(self, device: str, threads: int | None = None) -> int | None:
        """The process id of a device's worker with so many CPU threads, None while it has none."""
        worker = self._workers.get(self._place(device, threads))
        return None if worker is None else worker.process.pid

    def _place(self, device: str, threads: int | None) -> _Place:
        is_cpu = device.startswith("cpu")
        return _Place(device, threads if threads is not None and is_cpu else self._threads)

    def _worker(self, place: _Place) -> _Worker:
        """One that lives."""
        worker = self._workers.get(place)
        if worker is None or worker.process.poll() is not None:
            self._discard(place)
            worker = self._workers[place] = self._start(place)
        return worker

    def _start(self, place: _Place) -> _Worker:
        ours, theirs = Pipe()
        self._started += 1
        log_path = self._setup.log_directory / f"worker-{self._started}-{place.device.replace(':', '-')}.log"
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", f"from tuning.worker import main; main({theirs.fileno()})"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=[theirs.fileno()],
                env={**os.environ, **worker_environment(*place)},
            )
        theirs.close()
        hello = Hello(sys.path, self._payload, self._setup.data_directory, self._setup.memory_limit_bytes)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # found out by events(), with its log
            ours.send(hello)
        return _Worker(process, ours, log_path)

    def _receive(self, place: _Place) -> list[Event]:
        worker = self._workers[place]
        try:
            message = worker.connection.recv()
        except (EOFError, ConnectionResetError):
            return [self._bury(place)]
        if message == READY:
            return []
        if not isinstance(message, EpochReport):
            worker.request = None
        if isinstance(message, TrialOutcome) and message.status is Status.OUT_OF_MEMORY:
            self._discard(place)  # TensorFlow keeps what it allocated; only a new process starts clean
        return [message]

    def _bury(self, place: _Place) -> TrialOutcome:
        worker = self._workers[place]
        assert worker.request is not None
        exit_code = _end(worker.process)
        tail = _tail(worker.log_path, worker.log_start)
        status, reason = _explain(exit_code, tail, may_have_killed(worker.kills_before, count_kills()))
        outcome = TrialOutcome(worker.request.trial_id, status, reason=reason, log_tail=tail, exit_code=exit_code)
        self._discard(place)
        return outcome

    def _discard(self, place: _Place) -> None:
        worker = self._workers.pop(place, None)
        if worker is not None:
            _dismiss(worker)
            _end(worker.process)


def _threads_of(request: Request) -> int | None:
    return request.threads if isinstance(request, (TrialRequest, ThroughputRequest)) else None


def _pickle(setup: WorkerSetup) -> bytes:
    """By value for what lives in the user's script, notebook or loose file, which a worker cannot import."""
    for part in (setup.hypermodel, *setup.callbacks):
        _register_by_value(part)
    payload: bytes = cloudpickle.dumps((setup.hypermodel, list(setup.callbacks), setup.fit_options))
    return payload


def _register_by_value(part: Any) -> None:
    """Mark a loose top-level module, such as a workload file, to travel by value; packages are imported there."""
    name = part.__module__ if hasattr(part, "__qualname__") else type(part).__module__
    path = getattr(sys.modules.get(name), "__file__", None)
    if path and name != "__main__" and "." not in name and not Path(path).is_relative_to(sys.prefix):
        cloudpickle.register_pickle_by_value(sys.modules[name])


def _explain(exit_code: int, tail: str, killer_was_at_work: bool) -> tuple[Status, str]:
    if exit_code == memory_limit.EXIT_CODE:
        return Status.OUT_OF_MEMORY, f"The {tail.splitlines()[-1] if tail else 'memory limit was exceeded'}."
    if exit_code == -signal.SIGKILL and not killer_was_at_work:
        return Status.FAILED, "The worker was killed by SIGKILL, which the system did not send for lack of memory."
    status, reason = status_of_exit(exit_code, tail)
    last = tail.splitlines()[-1] if tail else ""
    return status, f"{reason} {last}".strip() if status is Status.FAILED else reason


def _dismiss(worker: _Worker) -> None:
    """Have an idle worker end; one that may still be starting, which takes seconds, has nothing to put in order."""
    if not worker.has_worked:
        worker.process.kill()
    worker.connection.close()


def _end(process: subprocess.Popen[bytes]) -> int:
    try:
        return process.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _tail(path: Path, start: int) -> str:
    with path.open("rb") as log:
        log.seek(max(start, path.stat().st_size - _TAIL_BYTES))
        return log.read().decode(errors="replace").strip()
