"""Workers that are started before anybody takes them; scripts of a few lines stand in for them."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import closing

import psutil
import pytest

from tuning.run import process
from tuning.run.starter import Starter
from tuning.run.wire import Brief

SCRIPT = """
import os, sys
from multiprocessing.connection import Connection
c = Connection(int(sys.argv[1]))
hello = c.recv()
c.send((hello.device, hello.sharing, os.environ["TF_NUM_INTRAOP_THREADS"]))
c.send(c.recv().payload)
c.recv()
"""


@pytest.fixture
def starter(monkeypatch: pytest.MonkeyPatch) -> Iterator[Starter]:
    monkeypatch.setattr(process, "_START", SCRIPT)
    with closing(Starter(("cpu:0", "cpu:1"), threads=3)) as starter:
        yield starter


def test_a_worker_has_begun_before_it_is_taken_and_is_told_later_what_it_trains(starter: Starter) -> None:
    worker = starter.take(starter.place("cpu:1"))
    assert worker.connection.recv() == ("cpu:1", 2, "3")
    worker.brief(Brief([], b"the model", starter.directory))
    assert worker.connection.recv() == b"the model"
    starter.end(worker)


def test_each_worker_is_taken_once_and_others_are_started_when_they_are_needed(starter: Starter) -> None:
    place = starter.place("cpu:0")
    first, second = starter.take(place), starter.take(place)
    assert first.process_id != second.process_id
    assert second.connection.recv() == ("cpu:0", 2, "3")
    for worker in (first, second):
        starter.end(worker)
        assert worker.wait() == -signal.SIGKILL


def test_one_that_is_started_ahead_is_the_one_that_is_taken(starter: Starter) -> None:
    place = starter.place("cpu:0", threads=1)
    before = children()
    starter.start_ahead(place)
    starter.start_ahead(place)  # it waits already
    begun = children() - before
    worker = starter.take(place)
    assert begun == {worker.process_id}
    assert worker.connection.recv() == ("cpu:0", 2, "1")
    starter.end(worker)


def test_what_nobody_takes_ends_with_the_starter_which_may_be_closed_twice(starter: Starter) -> None:
    waiting = children()
    assert len(waiting) >= 2
    starter.close()
    starter.close()
    assert not starter.directory.exists()
    assert not children() & waiting


def test_threads_are_the_cpu_s_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_START", SCRIPT)
    with closing(Starter(("gpu:GPU-1",), threads=3)) as starter:
        assert starter.place("gpu:GPU-1", threads=1) == ("gpu:GPU-1", 3)


def children() -> set[int]:
    """The numbers of the processes that this one has started and that have not ended."""
    return {child.pid for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE}
