"""What counts as a sign of life, and what is ended with a driver that is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from tuning.run.pulse import Guard, Pulse, processor_seconds


class Worker:
    """A made-up worker: a clock and the processor time that it has used."""

    def __init__(self) -> None:
        self.now_s = self.used_s = 0.0
        self.looks = 0

    def clock(self) -> float:
        return self.now_s

    def processor_seconds(self) -> float:
        self.looks += 1
        return self.used_s

    def wait(self, seconds: float, load: float = 0.0) -> None:
        self.now_s += seconds
        self.used_s += load * seconds


@pytest.fixture
def worker() -> Worker:
    return Worker()


@pytest.fixture
def pulse(worker: Worker) -> Pulse:
    return Pulse(worker.processor_seconds, 600.0, worker.clock)


def hangs_after(worker: Worker, pulse: Pulse, load: float, seconds: int = 5000) -> int | None:
    """Seconds until a worker of constant load is taken to hang; None if it is not."""
    for second in range(1, seconds):
        worker.wait(1.0, load)
        if pulse.hangs:
            return second
    return None


def test_a_worker_that_uses_no_processor_time_hangs_at_the_limit(worker: Worker, pulse: Pulse) -> None:
    assert hangs_after(worker, pulse, load=0.015) == 601  # what the watch on its memory uses is no life


def test_a_worker_that_computes_lives(worker: Worker, pulse: Pulse) -> None:
    assert hangs_after(worker, pulse, load=0.1) is None


def test_a_child_that_ends_was_a_sign_of_life(worker: Worker, pulse: Pulse) -> None:
    worker.used_s = 50.0
    worker.wait(500)
    pulse.begin()
    worker.used_s = 3.0  # the child and its time are gone
    assert hangs_after(worker, pulse, load=0.0) in range(601, 610)


def test_a_message_is_a_sign_of_life_and_long_epochs_raise_the_limit(worker: Worker, pulse: Pulse) -> None:
    for _ in range(3):
        worker.wait(500)
        assert not pulse.hangs
        pulse.heard()
    assert pulse.limit_s == 5000
    assert hangs_after(worker, pulse, load=0.0, seconds=5003) == 5001


def test_it_counts_anew_when_it_is_asked_something(worker: Worker, pulse: Pulse) -> None:
    worker.wait(10_000)
    pulse.begin()
    assert not pulse.hangs


def test_the_processes_are_looked_at_now_and_then_only(worker: Worker, pulse: Pulse) -> None:
    for _ in range(1000):
        worker.wait(0.1)
        assert not pulse.hangs
    assert worker.looks < 20


BUSY = "import time\nwhile time.process_time() < 0.3: pass\n"


def test_the_processor_time_is_that_of_a_process_and_its_children() -> None:
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BUSY!r}]); print(1, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "1\n"
        assert processor_seconds(process.pid) > 0.25
        process.communicate("\n")
    assert processor_seconds(process.pid) == 0.0


DRIVER = """
import signal, subprocess, sys, time
from tuning.run.pulse import Guard
guard = Guard()
children = [subprocess.Popen(["sleep", "600"], start_new_session=True) for _ in range(2)]
for child in children:
    guard.watch(child.pid)
guard.forget(children[1].pid)
print(*(child.pid for child in children), flush=True)
time.sleep(600)
"""


def test_what_workers_have_started_ends_with_a_driver_that_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", DRIVER], stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        ended, forgotten = map(int, driver.stdout.readline().split())
        assert not has_ended(forgotten)
        driver.send_signal(signal.SIGKILL)
    while not has_ended(ended):  # the test's own time limit ends this otherwise
        time.sleep(0.02)
    assert not has_ended(forgotten)
    os.kill(forgotten, signal.SIGKILL)


def has_ended(process_id: int) -> bool:
    try:
        with open(f"/proc/{process_id}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_a_guard_that_is_closed_takes_no_more_and_ends() -> None:
    guard = Guard()
    guard.close()
    guard.watch(os.getpgid(0))
    assert guard._process.returncode == 0
