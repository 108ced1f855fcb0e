"""Output: the end of what a worker and its children print, however much that is."""

from __future__ import annotations

import os
import threading
from multiprocessing.connection import wait

KEPT_BYTES = 64_000
"""The traces of stacks that follow the reason of an abort are longer than what a trial keeps of them."""
_PIPE_BYTES = 2**20  # the most that a pipe holds by Linux's default limits, and so the most that is read in one go


class Output:
    """A pipe to print into, whose end is kept in memory; a thread reads it, so that nobody who prints has to wait.

    A file would be as long as a worker prints within the moment until somebody looks at it: 676 MiB were seen. A
    process that escaped its worker's end may hold the pipe open for ever, so that its closing is not waited for.
    """

    def __init__(self) -> None:
        self._reading, self.writing = os.pipe()
        """The descriptor to print into, until `hand_over`."""
        os.set_blocking(self._reading, False)  # those who print have a description of their own, and block
        self._woken, self._waking = os.pipe()
        self._lock = threading.Lock()
        self._kept = bytearray()
        self._thread = threading.Thread(target=self._read_on, name="output", daemon=True)
        self._thread.start()

    def hand_over(self) -> None:
        """Leave the descriptor to those who have got it."""
        os.close(self.writing)

    def begin(self) -> None:
        """Forget what has been printed so far."""
        with self._lock:
            self._read()
            self._kept.clear()

    def end(self) -> str:
        """Return the last `KEPT_BYTES` of what has been printed since `begin`."""
        with self._lock:
            self._read()
            return self._kept[-KEPT_BYTES:].decode(errors="replace").strip()

    def close(self) -> None:
        """Read no more than what is there; the end can still be asked for."""
        waking, self._waking = self._waking, -1
        if waking >= 0:
            os.close(waking)
            self._thread.join()

    def _read_on(self) -> None:
        is_open = True
        while is_open:
            ready = wait([self._reading, self._woken])
            with self._lock:
                is_open = self._read() and self._woken not in ready
        with self._lock:
            for descriptor in (self._reading, self._woken):
                os.close(descriptor)
            self._reading = -1

    def _read(self) -> bool:
        """Take in what has been printed; return whether more may follow."""
        if self._reading < 0:
            return False
        left = _PIPE_BYTES
        while left > 0:
            try:
                printed = os.read(self._reading, _PIPE_BYTES)
            except BlockingIOError:
                return True
            if not printed:
                return False
            left -= len(printed)
            self._kept += printed[-KEPT_BYTES:]
            if len(self._kept) > 2 * KEPT_BYTES:
                del self._kept[:-KEPT_BYTES]
        return True
