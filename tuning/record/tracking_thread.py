"""TrackingThread: the thread that alone speaks with a store, so that no search waits for one."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

from tuning.record.outbox import Outbox

_Answer = TypeVar("_Answer")
_HOPELESS = 5  # failures in a row, within some seconds, after which a flush ends


class TrackingThread:
    """Lets an outbox write, and asks what somebody waits for, from one thread that starts when there is work.

    A store's client is made and used there alone. The thread is a daemon: a process that ends does not wait for it.

    Args:
        outbox: What is owed.
        within: Returns the context in which the thread works.
        clock: Seconds of the outbox's moments.
    """

    def __init__(
        self,
        outbox: Outbox,
        within: Callable[[], AbstractContextManager[object]] = nullcontext,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._outbox, self._within, self._clock = outbox, within, clock
        self._changed = threading.Condition()
        self._questions: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._thread: threading.Thread | None = None
        self._ended: threading.Thread | None = None
        self._n_wakes = 0

    def ask(self, question: Callable[[], _Answer]) -> _Answer:
        """Call a function in the thread, before anything else, and return what it returns or raise what it raises."""
        answer: Future[_Answer] = Future()
        with self._changed:
            self._questions.append((answer, question))
            self._wake()
        return answer.result()

    def wake(self) -> None:
        """Look for work, for the outbox owes more."""
        with self._changed:
            self._wake()

    def flush(self, patience_s: float) -> bool:
        """Wait until nothing is owed, and return whether that is so.

        It is not if the time is up, or the store has failed some times in a row.
        """
        self._outbox.hurry()
        until = self._clock() + patience_s
        with self._changed:
            self._wake()
            while len(self._outbox) and self._outbox.failures < _HOPELESS and self._clock() < until:
                self._changed.wait(min(0.5, max(0.0, until - self._clock())))
        return not len(self._outbox)

    def stop(self, grace_s: float = 0.0) -> None:
        """End the thread after the piece that it is writing; more work starts another one.

        Args:
            grace_s: How long to wait for that piece. What reaches the store after that, others do not expect.
        """
        with self._changed:
            self._questions.clear()
            self._ended, self._thread = self._thread or self._ended, None
            self._changed.notify_all()
        if self._ended is not None and grace_s > 0:
            self._ended.join(grace_s)

    def _wake(self) -> None:
        self._n_wakes += 1
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, args=[self._ended], name="tracking", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _work(self, predecessor: threading.Thread | None) -> None:
        if predecessor is not None:
            predecessor.join()  # it may still be waiting for an answer; two at once would break the order
        with self._within():
            self._serve()

    def _serve(self) -> None:
        while True:
            with self._changed:
                if self._thread is not threading.current_thread():
                    return
                n_wakes, question = self._n_wakes, self._questions.popleft() if self._questions else None
            if question is not None:
                _answer(*question)
                continue
            wait_s = self._outbox.step(self._clock())
            with self._changed:
                self._changed.notify_all()  # whoever flushes looks again
                is_on_duty = self._thread is threading.current_thread()
                if wait_s > 0 and n_wakes == self._n_wakes and is_on_duty:
                    self._changed.wait(None if math.isinf(wait_s) else wait_s)


def _answer(answer: Future[Any], question: Callable[[], Any]) -> None:
    try:
        answer.set_result(question())
    except BaseException as error:  # whoever asked gets it, whatever it is
        answer.set_exception(error)
