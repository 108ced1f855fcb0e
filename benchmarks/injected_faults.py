"""What goes wrong in a search of `faults.py`: its driver, worker or MLflow server is killed, or its disk is full."""

from __future__ import annotations

import os
import random
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fakes import ScriptedExecutor, lost
from mlflow import MlflowClient
from optuna.storages.journal import JournalFileBackend
from scripted_searches import curve, probes

from tuning.messages import Event

MOMENTS = ("before", "within", "after")
_WRITES = ("create_run", "log_batch", "log_text", "log_artifact", "set_terminated", "delete_run")
_append = JournalFileBackend.append_logs


@dataclass(frozen=True)
class Fault:
    """What goes wrong in a search.

    Args:
        what: "driver", "worker", "both", "server" or "disk"; "none" to count its writes only.
        write: At which of its writes, from 0; None for at any moment.
        moment: Before, within or after that write.
        after_s: When, if at no write.
    """

    what: str = "none"
    write: int | None = None
    moment: str = "before"
    after_s: float = 0.0


class LosingExecutor(ScriptedExecutor):
    """Loses the worker of what runs when it is told to, as an executor of real workers tells of one that was killed."""

    def __init__(self) -> None:
        super().__init__(curve, probes=probes)
        self.loses = False

    def events(self, timeout_s: float) -> list[Event]:
        trials = {trial.trial_id: trial for trial in self.requests}
        for device, waiting in self._running.items():
            if self.loses and waiting[-1].trial_id in trials:
                self._running[device] = deque([lost(trials[waiting[-1].trial_id])])
                self.loses = False
        return super().events(timeout_s)


class Writes:
    """Counts the writes of this process to the journal and to MLflow, and does harm at one of them.

    Args:
        fault: What harm.
        executor: Whose worker is killed.
        server: The process that is MLflow's server, if there is one.
    """

    def __init__(self, fault: Fault, executor: LosingExecutor, server: int | None = None) -> None:
        self.count = -1
        self._fault, self._executor, self._server = fault, executor, server

    def watch(self) -> None:
        """Stand between the search and what it writes with."""
        JournalFileBackend.append_logs = self._between(JournalFileBackend.append_logs, self._tear)
        for name in _WRITES:
            setattr(MlflowClient, name, self._between(getattr(MlflowClient, name)))
        if self._fault.what != "none" and self._fault.write is None:
            threading.Timer(self._fault.after_s, self._harm).start()

    def _between(self, write: Callable[..., Any], tear: Callable[..., Any] | None = None) -> Callable[..., Any]:
        def written(*arguments: Any, **more: Any) -> Any:
            self.count += 1
            if self.count != self._fault.write:
                return write(*arguments, **more)
            if self._kills_driver and self._fault.moment == "within" and tear is not None:
                self._executor.loses = self._fault.what == "both"
                tear(*arguments)
            if self._fault.moment != "after":
                self._harm()
                return write(*arguments, **more)
            answer = write(*arguments, **more)
            self._harm()
            return answer

        return written

    @property
    def _kills_driver(self) -> bool:
        return self._fault.what in ("driver", "both")

    def _harm(self) -> None:
        if self._fault.what == "disk":
            _fill(Path.cwd())
        if self._fault.what in ("worker", "both"):
            self._executor.loses = True
        if self._fault.what == "server" and self._server is not None:
            os.kill(self._server, signal.SIGKILL)
        if self._fault.what == "both":  # the worker first, so that its loss may or may not be in the record
            threading.Timer(random.uniform(0.0, 0.2), os.kill, (os.getpid(), signal.SIGKILL)).start()
        if self._fault.what == "driver":
            os.kill(os.getpid(), signal.SIGKILL)

    def _tear(self, backend: JournalFileBackend, logs: Any) -> None:
        """Write half of a record, with the journal's lock held, and die."""
        write = os.fsync

        def cut(descriptor: int) -> None:
            path = Path(f"/proc/self/fd/{descriptor}").resolve()
            os.truncate(path, path.stat().st_size - random.randrange(1, 60))
            write(descriptor)
            os.kill(os.getpid(), signal.SIGKILL)

        os.fsync = cut
        _append(backend, logs)


def _fill(room: Path) -> None:
    with suppress(OSError), (room / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


@contextmanager
def front_of(server_port: int, port: int) -> Iterator[int]:
    """Run a process that listens at a port, and that alone reaches a server; yields its number, by which it may die."""
    child = os.fork()
    if child == 0:
        _forward(server_port, port)
    _await_listening(port)
    try:
        yield child
    finally:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _forward(server_port: int, port: int) -> None:
    listening = socket.create_server(("127.0.0.1", port), reuse_port=True)
    while True:
        asked, _ = listening.accept()
        answering = socket.create_connection(("127.0.0.1", server_port))
        for source, sink in ((asked, answering), (answering, asked)):
            threading.Thread(target=_copy, args=(source, sink), daemon=True).start()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while content := source.recv(2**16):
            sink.sendall(content)
        sink.shutdown(socket.SHUT_WR)


def _await_listening(port: int) -> None:
    for _ in range(200):
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", port)).close()
            return
        time.sleep(0.05)
    raise TimeoutError("Nothing listens.")
