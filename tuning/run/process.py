"""WorkerProcess: a worker of this machine, from its start to what its end means, whoever killed it."""

from __future__ import annotations

import contextlib
import functools
import os
import resource
import signal
import subprocess
import sys
import threading
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from tuning.loops.failures import fatal_line, status_of_exit
from tuning.messages import Request
from tuning.run import memory_limit
from tuning.run.executor import worker_environment
from tuning.run.output import Output
from tuning.run.pulse import SILENCE_LIMIT_S, Pulse, processor_seconds
from tuning.run.wire import STOP, Brief, Hello
from tuning.trial import Status, Trial, TrialOutcome

_TAIL_LENGTH = 4000
_GRACE_S = 5.0

_ROOT = Path(__file__).resolve().parents[2]
"""The folder of the packages `tuning` and `search_spaces`, which a worker takes from where the driver has them."""

_START = (
    "import sys; sys.path.insert(0, sys.argv[2]); import search_spaces, tuning; del sys.path[0]; "
    "from tuning.worker import main; main(int(sys.argv[1]))"
)


class WorkerProcess:
    """A fresh interpreter that runs `tuning.worker`, with its connection, its output and the request that it runs.

    It leads a session of its own, so that what it has started ends with it. Its end is seen by the process itself where
    the system tells (Linux), since a child of it may hold the connection open.

    Args:
        hello: What it is told first.
        threads: Its CPU threads, which TensorFlow fixes when it is imported.
        silence_limit_s: It hangs if it shows no sign of life for so long; see `Pulse`.
        programs: Where it leaves and finds what XLA has compiled; see `worker_environment`.
    """

    def __init__(
        self, hello: Hello, threads: int, silence_limit_s: float = SILENCE_LIMIT_S, programs: Path | None = None
    ) -> None:
        self.request: Trial | Request | None = None
        self.connection: Connection[Any, Any]
        self.sentinel: int | None
        self.connection, theirs = Pipe()
        self._output = Output()
        self._has_worked = False
        self._kills_before: int | None = None
        self._limited = False
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _START, str(theirs.fileno()), str(_ROOT)],
            stdin=subprocess.DEVNULL,
            stdout=self._output.writing,
            stderr=subprocess.STDOUT,
            pass_fds=[theirs.fileno()],
            env={**os.environ, **worker_environment(hello.device, threads, programs)},
            start_new_session=True,
        )
        self._output.hand_over()
        self.sentinel = _watched(self._process.pid)
        self.pulse = Pulse(functools.partial(processor_seconds, self._process.pid), silence_limit_s)
        theirs.close()
        self._send(hello)

    @property
    def process_id(self) -> int:
        """The process's number."""
        return self._process.pid

    @property
    def lives(self) -> bool:
        """Whether the process has not ended yet."""
        return self._process.poll() is None if self.sentinel is None else not wait([self.sentinel], 0)

    def brief(self, brief: Brief) -> None:
        """Tell it what it is to train, before it is asked anything.

        What a pipe cannot hold waits for the worker to read; one that does not within its limit on silence is killed.
        """
        limit = threading.Timer(self.pulse.limit_s, self._kill)
        limit.daemon = True
        limit.start()
        try:
            self._send(brief)
        finally:
            limit.cancel()

    def submit(self, request: Trial | Request) -> None:
        """Have it run a request; its output and the out-of-memory killer are watched from here on."""
        self.request, self._has_worked = request, True
        self._output.begin()
        self._kills_before = count_kills()
        self._limited = has_limited_address_space(self.process_id)
        self.pulse.begin()
        self._send(request)

    def stop(self, trial_id: str) -> None:
        """Ask the trial that it runs to stop at its next epoch."""
        self._send((STOP, trial_id))

    def dismiss(self) -> None:
        """Have it end: by itself if it is idle; one that works, or may still be starting, has nothing to put right."""
        if self.request is not None or not self._has_worked:
            self._kill()
        self.connection.close()

    def wait(self) -> int:
        """Return the exit code of a worker that ends; one that takes long is killed, and what any leaves behind."""
        if self.sentinel is not None:
            wait([self.sentinel], _GRACE_S)
            self._kill()  # before its number is given away by asking for the exit code
            os.close(self.sentinel)
            self.sentinel = None
        try:
            exit_code = self._process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            exit_code = self._process.wait()
        self._output.close()
        return exit_code

    def _kill(self) -> None:
        """Kill the process and all of its session; one that has ended keeps its exit code.

        Once that was asked for, its number may be another's.
        """
        if self._process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def outcome_of_silence(self) -> TrialOutcome:
        """Return what it means for its request that it hangs."""
        assert self.request is not None
        silence = f"It showed no sign of life for {self.pulse.limit_s:.0f} s, neither an epoch nor processor time"
        log = self._output.end()[-_TAIL_LENGTH:]
        return TrialOutcome(self.request.trial_id, Status.FAILED, reason=f"{silence}, and was ended.", log_tail=log)

    def outcome_of_death(self) -> TrialOutcome:
        """Return what the end of a worker whose connection broke means for its request, or for its start."""
        exit_code = self.wait()
        killed = may_have_killed(self._kills_before, count_kills())
        trial_id = "" if self.request is None else self.request.trial_id
        return outcome_of_death(
            trial_id, exit_code, self._output.end(), killer_was_at_work=killed, limited=self._limited
        )

    def _send(self, message: object) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # whoever receives finds out, with its log
            self.connection.send(message)


def _watched(process_id: int) -> int | None:
    """Return a file descriptor that becomes readable when a process ends; None where the system has none."""
    try:
        return os.pidfd_open(process_id)
    except (AttributeError, OSError):  # no Linux, or one before 5.3, or a sandbox that does not know the call
        return None


_FROM_OUTSIDE = {-number for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGKILL)}
"""Exit codes of signals that no training sends itself: an operator, a scheduler or a shutdown does."""


def outcome_of_death(
    trial_id: str, exit_code: int, log: str, *, killer_was_at_work: bool, limited: bool = False
) -> TrialOutcome:
    """Return how a trial ended whose worker died.

    A worker that something outside killed has lost its trial, which says nothing about the training. One that the
    system's out-of-memory killer may have killed ran out of memory, as does one that exceeds its own limit. All other
    deaths are the training's own.

    Args:
        trial_id: The trial or request that the worker ran.
        exit_code: How the process ended, -n for signal n.
        log: What the worker has printed since the request, at least the end of it; the outcome keeps the last lines.
        killer_was_at_work: Whether the system's out-of-memory killer may have killed a process meanwhile.
        limited: Whether the worker's address space was limited.
    """
    status, reason = _explain(exit_code, log, killer_was_at_work, limited)
    return TrialOutcome(trial_id, status, reason=reason, log_tail=log[-_TAIL_LENGTH:], exit_code=exit_code)


def _explain(exit_code: int, log: str, killer_was_at_work: bool, limited: bool) -> tuple[Status, str]:
    last = log.splitlines()[-1] if log else ""
    if exit_code == memory_limit.EXIT_CODE:
        return Status.OUT_OF_MEMORY, f"The {last or 'memory limit was exceeded'}."
    if exit_code in _FROM_OUTSIDE and not (exit_code == -signal.SIGKILL and killer_was_at_work):
        name = signal.Signals(-exit_code).name
        return Status.LOST, f"The worker was killed by {name} from outside, not by the system for lack of memory."
    status, reason = status_of_exit(exit_code, log, limited=limited)
    return status, f"{reason} {fatal_line(log) or last}".strip() if status is Status.FAILED else reason


def has_limited_address_space(process_id: int) -> bool:
    """Return whether a process may not use all the address space there is, as under `ulimit -v`."""
    try:
        return resource.prlimit(process_id, resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY
    except (OSError, AttributeError):  # it has ended, or the system is not Linux
        return False


def count_kills(root: Path = Path("/")) -> int | None:
    """Return how many processes Linux has killed for lack of memory, of the machine or of any control group.

    The count goes on from the machine's start. It is None where the kernel does not tell (Linux before 4.13, other
    systems).

    Args:
        root: The root of the file system.
    """
    try:
        entries = dict(line.split() for line in (root / "proc/vmstat").read_text().splitlines())
    except (OSError, ValueError):
        return None
    return int(entries["oom_kill"]) if "oom_kill" in entries else None


def may_have_killed(before: int | None, now: int | None) -> bool:
    """Return whether a death by SIGKILL between two counts may be the killer's: a count is unknown, or has grown."""
    return before is None or now is None or now > before
