"""Outbox: writes that wait for their turn, in order, each until it succeeds, without ever stopping the caller."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

Write = Callable[[], object]


class Outbox:
    """A queue of writes to a store that may go away and come back.

    Each write is made at once while the store answers. When one fails for a transient reason, it and everything after
    it wait, so that order is kept; further attempts are made as new writes come in, with pauses that double up to
    `longest_pause_s`, because a store that hangs would otherwise hold the caller for its time limit each time.
    A write that the store refuses for good is dropped and its reason kept.

    Every write must do no harm when made twice: its answer may have been lost, not the write.

    Args:
        is_transient: Whether the same write may succeed later.
        first_pause_s: Seconds without attempts after the first failure, at least 0.
        longest_pause_s: The most seconds without attempts.
        clock: Seconds from any origin, never running backwards.
    """

    def __init__(
        self,
        is_transient: Callable[[Exception], bool],
        *,
        first_pause_s: float = 2.0,
        longest_pause_s: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._is_transient = is_transient
        self._first_pause_s = first_pause_s
        self._longest_pause_s = longest_pause_s
        self._clock = clock
        self._waiting: deque[Write] = deque()
        self._pause_s = first_pause_s
        self._quiet_until = float("-inf")
        self.refused: list[Exception] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def send(self, write: Write) -> bool:
        """Make this write after those that wait, or keep it; True if nothing waits afterwards."""
        self._waiting.append(write)
        return self._clock() >= self._quiet_until and self.flush()

    def flush(self) -> bool:
        """Make every waiting write now, up to the first that fails again; True if nothing waits afterwards."""
        while self._waiting:
            try:
                self._waiting[0]()
            except Exception as error:
                if self._is_transient(error):
                    self._pause()
                    return False
                self.refused.append(error)
            self._waiting.popleft()
            self._pause_s = self._first_pause_s
        self._quiet_until = float("-inf")
        return True

    def _pause(self) -> None:
        self._quiet_until = self._clock() + self._pause_s
        self._pause_s = min(2 * self._pause_s, self._longest_pause_s)
