"""One thread alone writes; nobody waits for it longer than told."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tuning.record.outbox import Outbox, Reaction
from tuning.record.tracking_thread import TrackingThread


class Writer:
    def __init__(self, write: Callable[[], object], name: str = "run") -> None:
        self.name, self._write = name, write

    def write_next(self) -> bool:
        self._write()
        return False

    def abandon(self, reason: str) -> None:
        """There is nothing to leave."""


class Threads:
    """Notes which threads have written."""

    def __init__(self) -> None:
        self.seen: list[threading.Thread] = []
        self.limits: list[str] = []
        self._here = threading.local()

    def write(self) -> None:
        self.seen.append(threading.current_thread())
        self.limits.append(getattr(self._here, "limit", "none"))

    @contextmanager
    def limited(self) -> Iterator[None]:
        self._here.limit = "30 s"
        yield


def make(pause_s: float = 0.001, threads: Threads | None = None) -> tuple[Outbox, TrackingThread]:
    outbox = Outbox(lambda _error: Reaction.WAIT, first_pause_s=pause_s, longest_pause_s=pause_s)
    return outbox, TrackingThread(outbox) if threads is None else TrackingThread(outbox, threads.limited)


def hanging() -> tuple[threading.Event, threading.Event, list[str], Callable[[], None]]:
    """A piece that tells when it has begun and is written once it is released, with what has been written."""
    begun, released, written = threading.Event(), threading.Event(), list[str]()

    def hang() -> None:
        begun.set()
        released.wait(60)
        written.append("first")

    return begun, released, written, hang


def test_everything_is_written_and_asked_in_one_thread_within_its_limits() -> None:
    threads = Threads()
    outbox, thread = make(threads=threads)
    outbox.owe(Writer(threads.write))
    thread.wake()
    assert thread.flush(60)
    thread.ask(threads.write)
    assert len(set(threads.seen)) == 1
    assert threading.current_thread() not in threads.seen
    assert threads.limits == ["30 s", "30 s"]
    thread.stop()


def test_whoever_owes_does_not_wait_for_a_store_that_hangs() -> None:
    outbox, thread = make()
    released = threading.Event()
    outbox.owe(Writer(lambda: released.wait(60), "hangs"))
    thread.wake()
    outbox.owe(Writer(lambda: None, "waits"))
    thread.wake()
    assert not thread.flush(0.01)
    assert set(outbox.owed()) == {"hangs", "waits"}
    thread.stop()
    released.set()


def test_a_thread_that_was_stopped_writes_nothing_more_and_its_successor_waits_for_it() -> None:
    outbox, thread = make()
    begun, released, written, hang = hanging()
    outbox.owe(Writer(hang, "first"))
    outbox.owe(Writer(lambda: written.append("second"), "second"))
    thread.wake()
    assert begun.wait(60)
    thread.stop()
    thread.wake()  # a successor begins
    assert not thread.flush(0.01)
    assert written == []
    released.set()
    assert thread.flush(60)
    assert written == ["first", "second"]
    thread.stop()


def test_a_thread_that_is_stopped_just_before_it_waits_ends() -> None:
    ended: list[threading.Thread] = []
    stopped = threading.Event()

    class StoppedMeanwhile(Outbox):
        def step(self, now: float) -> float:
            ended.append(threading.current_thread())
            thread.stop()
            stopped.set()
            return math.inf

    thread = TrackingThread(StoppedMeanwhile(lambda _error: Reaction.WAIT))
    thread.wake()
    assert stopped.wait(60)
    ended[0].join(60)
    assert not ended[0].is_alive()


def test_who_stops_may_wait_for_the_piece_that_is_being_written() -> None:
    outbox, thread = make()
    begun, released, written, hang = hanging()
    outbox.owe(Writer(hang))
    thread.wake()
    assert begun.wait(60)
    thread.stop(0.01)
    assert written == []
    released.set()
    thread.stop(60)
    assert written == ["first"]


def test_a_store_that_fails_again_and_again_is_not_waited_for() -> None:
    attempts: list[int] = []

    def fail() -> None:
        attempts.append(1)
        raise ConnectionError

    outbox, thread = make()
    outbox.owe(Writer(fail))
    assert not thread.flush(float("inf"))
    thread.stop()
    assert outbox.owed() == ["run"]
    assert len(attempts) >= 5


def test_who_asks_gets_the_answer_or_the_error() -> None:
    _, thread = make()
    assert thread.ask(lambda: 42) == 42
    with pytest.raises(ValueError, match=r"no such run"):
        thread.ask(_refuse)
    assert thread.ask(lambda: 43) == 43
    thread.stop()


def _refuse() -> None:
    raise ValueError("no such run")


def test_what_is_owed_after_the_end_is_written_by_another_thread() -> None:
    threads = Threads()
    outbox, thread = make()
    for name in ("first", "second"):
        outbox.owe(Writer(threads.write, name))
        assert thread.flush(60)
        thread.stop()
    assert len(set(threads.seen)) == 2


_FLUSHES_FOR_EVER = """
import signal, time
from tuning.record.outbox import Outbox, Reaction
from tuning.record.tracking_thread import TrackingThread

class Writer:
    name = "run"
    def write_next(self):
        print("flushing", flush=True)
        time.sleep(3600)

signal.signal(signal.SIGTERM, signal.default_int_handler)  # as the command line does
outbox = Outbox(lambda error: Reaction.WAIT)
outbox.owe(Writer())
TrackingThread(outbox).flush(3600)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_process_that_is_interrupted_while_it_flushes_ends(number: signal.Signals) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", _FLUSHES_FOR_EVER],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "flushing\n"
        process.send_signal(number)
        assert process.wait(30) in (1, -signal.SIGINT)
