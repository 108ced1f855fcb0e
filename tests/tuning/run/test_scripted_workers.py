"""How a local executor starts and shares out workers; a script that tells its device stands in for one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import numpy as np
import psutil
import pytest
from contracts import await_device, await_end

from search_spaces import Data
from tuning.messages import MemoryProbeRequest, ThroughputRequest
from tuning.run import process
from tuning.run.executor import Device, Divisible, WorkerSetup, usable_cores
from tuning.run.local import LocalExecutor

needs_two_cores = pytest.mark.skipif(usable_cores() < 2, reason="needs two cores")

SCRIPT = """
import sys
sys.path.insert(0, sys.argv[2])
from multiprocessing.connection import Connection
from tuning.run.facts import cpu_device
from tuning.trial import Status, TrialOutcome
c = Connection(int(sys.argv[1]))
hello = c.recv()
c.send(cpu_device(hello.device, sharing=hello.sharing))
c.recv()
while True:
    c.send(TrialOutcome(c.recv().trial_id, Status.FAILED))
"""


def local_executor(monkeypatch: pytest.MonkeyPatch, **setup: Any) -> LocalExecutor:
    monkeypatch.setattr(process, "_START", SCRIPT)
    x = np.zeros((4, 2))
    return LocalExecutor(WorkerSetup(None, Data(x, x, x, x), **setup), ("cpu:0",))


@pytest.fixture
def executor(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalExecutor]:
    with closing(local_executor(monkeypatch)) as executor:
        yield executor


def all_devices(executor: LocalExecutor, number: int) -> tuple[Device, ...]:
    while len(executor.devices()) < number:
        assert executor.events(timeout_s=30.0) == []
    return executor.devices()


@needs_two_cores
def test_further_devices_have_a_thread_each_and_a_share_of_the_memory(executor: LocalExecutor) -> None:
    assert isinstance(executor, Divisible)
    alone = await_device(executor)
    before = executor.process_id("cpu:0")
    executor.divide(2)
    first, second = all_devices(executor, 2)
    assert (first, second.name, second.threads) == (alone, "cpu:1", 1)
    assert second.memory.bytes < 0.7 * alone.memory.bytes
    assert executor.process_id("cpu:0") == before
    assert executor.process_id("cpu:1", threads=1) is not None


@needs_two_cores
def test_what_is_divided_is_one_whole_cpu(executor: LocalExecutor) -> None:
    await_device(executor)
    with pytest.raises(ValueError, match=r"parts must not exceed the \d+ CPU cores"):
        executor.divide(usable_cores() + 1)
    executor.divide(2)
    with pytest.raises(ValueError, match="must be one CPU; got cpu:0, cpu:1"):
        executor.divide(2)


def test_while_memory_is_probed_the_next_fresh_worker_starts_and_nothing_else_is_disturbed_by_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with closing(local_executor(monkeypatch, holds_memory=True, memory_limit_bytes=2**30)) as executor:
        await_device(executor)
        before = children()
        executor.submit(MemoryProbeRequest("first", 8), "cpu:0")
        (ahead,) = children() - before
        executor.renew("cpu:0")
        assert executor.process_id("cpu:0") == ahead
        executor.submit(MemoryProbeRequest("second", 8), "cpu:0")
        (further,) = children() - before - {ahead}
        executor.renew("cpu:0")
        assert executor.process_id("cpu:0") == further
        executor.submit(MemoryProbeRequest("third", 8), "cpu:0")
        (waiting,) = children() - before - {further}
        await_end(executor, "third")
        executor.submit(ThroughputRequest("timed", 8), "cpu:0")
        assert waiting not in children()


@pytest.mark.parametrize("setup", [{"holds_memory": True}, {"memory_limit_bytes": 2**30}])
def test_no_worker_starts_ahead_that_could_be_held_to_what_another_leaves(
    setup: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(local_executor(monkeypatch, **setup)) as executor:
        await_device(executor)
        before = children()
        executor.submit(MemoryProbeRequest("first", 8), "cpu:0")
        assert children() == before


def children() -> set[int]:
    """The numbers of the processes that this one has started and that have not ended."""
    return {child.pid for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE}
