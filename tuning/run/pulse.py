"""Pulse: whether a worker shows signs of life, and the guard that ends its children where the driver is killed."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import psutil

SILENCE_LIMIT_S = 600.0
"""A worker that shows no sign of life for so long hangs."""
_EPOCHS = 10
_IDLE_SHARE = 0.03  # of a core: a worker that waits for ever uses half of that for its watch on memory (measured)


class Pulse:
    """Signs of life of a worker that has been asked something: its messages, and the processor time that it uses.

    It hangs if neither came for the limit, or for ten times the median time between its messages if that is longer. An
    endless loop uses processor time; only a limit on a trial's time ends that.

    Args:
        processor_seconds: Returns the processor time of the worker and its children so far.
        limit_s: Seconds without a sign of life.
        clock: Seconds, never running backwards.
    """

    def __init__(
        self,
        processor_seconds: Callable[[], float],
        limit_s: float = SILENCE_LIMIT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._processor_seconds, self._limit_s, self._clock = processor_seconds, limit_s, clock
        self._between: list[float] = []
        self.begin()

    def begin(self) -> None:
        """Count from now on: it has been asked something."""
        self._heard_at = self._alive_at = self._asked_at = self._clock()
        self._used = self._processor_seconds()

    def heard(self) -> None:
        """Take in that a message has come."""
        now = self._clock()
        self._between.append(now - self._heard_at)
        self._heard_at = self._alive_at = now

    @property
    def limit_s(self) -> float:
        """Seconds without a sign of life after which it hangs."""
        return max(self._limit_s, _EPOCHS * statistics.median(self._between or [0.0]))

    @property
    def hangs(self) -> bool:
        """Whether there has been no sign of life for too long."""
        now = self._clock()
        if now - self._asked_at > self._limit_s / 100:  # to ask costs a look at every process
            self._look(now)
        return now - self._alive_at > self.limit_s

    def _look(self, now: float) -> None:
        used = self._processor_seconds()
        if abs(used - self._used) > _IDLE_SHARE * (now - self._asked_at):  # less than before where a child has ended
            self._alive_at = now
        self._asked_at, self._used = now, used


def processor_seconds(process_id: int) -> float:
    """Return the processor time of a process and its children, in seconds; 0 if it has ended."""
    try:
        process = psutil.Process(process_id)
        family = [process, *process.children(recursive=True)]
    except psutil.Error:
        return 0.0
    total = 0.0
    for member in family:
        with contextlib.suppress(psutil.Error):
            total += sum(member.cpu_times()[:4])  # its own and that of children that have ended, user and system
    return total


_GUARD = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
groups = set()
for line in sys.stdin:
    (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
for group in groups:
    try:
        os.killpg(group, signal.SIGKILL)
    except OSError:
        pass
"""


class Guard:
    """A small process that outlives a driver which is killed, to end what its workers have started.

    Linux ends a worker together with its driver, but not the worker's children. The guard reads which groups of
    processes there are from a pipe that closes with the driver, however that ends.
    """

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _GUARD],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )

    def watch(self, group: int) -> None:
        """End this group of processes with the driver."""
        self._tell(f"+{group}\n")

    def forget(self, group: int) -> None:
        """Leave a group alone that has ended; its number may be given to another."""
        self._tell(f"-{group}\n")

    def close(self) -> None:
        """End it."""
        with contextlib.suppress(OSError):
            self._process.communicate()

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError, ValueError):  # somebody has killed it, or it is closed
            self._process.stdin.write(line)
            self._process.stdin.flush()
