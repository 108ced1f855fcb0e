"""One CPU that is shared out to workers of one thread each; a script that tells its device stands in for a worker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pytest
from contracts import await_device

from search_spaces import Data
from tuning.run import process
from tuning.run.executor import Device, Divisible, WorkerSetup, usable_cores
from tuning.run.local import LocalExecutor

pytestmark = pytest.mark.skipif(usable_cores() < 2, reason="needs two cores")

SCRIPT = """
import sys
sys.path.insert(0, sys.argv[2])
from multiprocessing.connection import Connection
from tuning.run.facts import cpu_device
c = Connection(int(sys.argv[1]))
hello = c.recv()
c.send(cpu_device(hello.device, sharing=hello.sharing))
while True:
    c.recv()
"""


@pytest.fixture
def executor(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalExecutor]:
    monkeypatch.setattr(process, "_START", SCRIPT)
    x = np.zeros((4, 2))
    with closing(LocalExecutor(WorkerSetup(None, Data(x, x, x, x)), ("cpu:0",))) as executor:
        yield executor


def all_devices(executor: LocalExecutor, number: int) -> tuple[Device, ...]:
    while len(executor.devices()) < number:
        assert executor.events(timeout_s=30.0) == []
    return executor.devices()


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


def test_what_is_divided_is_one_whole_cpu(executor: LocalExecutor) -> None:
    await_device(executor)
    with pytest.raises(ValueError, match=r"parts must not exceed the \d+ CPU cores"):
        executor.divide(usable_cores() + 1)
    executor.divide(2)
    with pytest.raises(ValueError, match="must be one CPU; got cpu:0, cpu:1"):
        executor.divide(2)
