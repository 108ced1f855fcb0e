"""WorkerProcess: a worker of this machine, from its start to what its end means."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tuning.messages import Request
from tuning.run.deaths import count_kills, may_have_killed, outcome_of_death
from tuning.run.devices import worker_environment
from tuning.run.wire import STOP, Hello
from tuning.trial import Trial, TrialOutcome

_TAIL_BYTES = 4000
_GRACE_S = 5.0

_ROOT = Path(__file__).resolve().parents[2]
"""The folder of the packages `tuning` and `search_spaces`, which a worker takes from where the driver has them."""

_START = (
    "import sys; sys.path.insert(0, sys.argv[2]); import search_spaces, tuning; del sys.path[0]; "
    "from tuning.worker import main; main(int(sys.argv[1]))"
)


class WorkerProcess:
    """A fresh interpreter that runs `tuning.worker`, with its connection, its log and the request that it runs.

    Args:
        hello: What it is told first.
        threads: Its CPU threads, which TensorFlow fixes when it is imported.
        log_path: Where its output goes.
    """

    def __init__(self, hello: Hello, threads: int, log_path: Path) -> None:
        self.request: Trial | Request | None = None
        self.connection: Connection[Any, Any]
        self.connection, theirs = Pipe()
        self._log_path = log_path
        self._log_start = 0
        self._has_worked = False
        self._kills_before: int | None = None
        with log_path.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _START, str(theirs.fileno()), str(_ROOT)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=[theirs.fileno()],
                env={**os.environ, **worker_environment(hello.device, threads)},
            )
        theirs.close()
        self._send(hello)

    @property
    def process_id(self) -> int:
        """The process's number."""
        return self._process.pid

    @property
    def lives(self) -> bool:
        """Whether the process has not ended yet."""
        return self._process.poll() is None

    def submit(self, request: Trial | Request) -> None:
        """Have it run a request; its log and the out-of-memory killer are watched from here on."""
        self.request, self._has_worked = request, True
        self._log_start = self._log_path.stat().st_size
        self._kills_before = count_kills()
        self._send(request)

    def stop(self, trial_id: str) -> None:
        """Ask the trial that it runs to stop at its next epoch."""
        self._send((STOP, trial_id))

    def dismiss(self) -> None:
        """Have it end: by itself if it is idle; one that works, or may still be starting, has nothing to put right."""
        if self.request is not None or not self._has_worked:
            self._process.kill()
        self.connection.close()

    def wait(self) -> int:
        """Return the exit code of a worker that ends, and kill it if it takes long."""
        try:
            return self._process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def outcome_of_death(self) -> TrialOutcome:
        """Return what the end of a worker whose connection broke means for its request, or for its start."""
        exit_code = self.wait()
        killer_was_at_work = may_have_killed(self._kills_before, count_kills())
        trial_id = "" if self.request is None else self.request.trial_id
        return outcome_of_death(trial_id, exit_code, self._log_tail(), killer_was_at_work=killer_was_at_work)

    def _send(self, message: object) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # whoever receives finds out, with its log
            self.connection.send(message)

    def _log_tail(self) -> str:
        with self._log_path.open("rb") as log:
            log.seek(max(self._log_start, self._log_path.stat().st_size - _TAIL_BYTES))
            return log.read().decode(errors="replace").strip()
