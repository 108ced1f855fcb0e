"""Ctrl-C and its kin: the first stops and reports, the second ends at once, from the first moment on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from processes import has_ended

from tuning.interrupts import heed_signals, held_back

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

STARTING = """
import sys, time
class Slow:  # an import that never ends, as it seems to who waits for TensorFlow
    def find_spec(self, name, path, target=None):
        if name == "tuning.commands":
            print("importing", flush=True)
            time.sleep(100)
sys.meta_path.insert(0, Slow())
from tuning.cli import main
sys.exit(main())
"""

REPORTING = """
import subprocess, sys, time
from tuning.cli import main
from tuning.commands import answering
def slow(asked):
    import psutil
    child = subprocess.Popen(["sleep", "100"], start_new_session=True, stdout=subprocess.DEVNULL)
    try:
        print(child.pid, flush=True)
        time.sleep(100)
    except KeyboardInterrupt:
        print("reporting", flush=True)
        time.sleep(100)
answering.workloads = slow
sys.exit(main())
"""


def started(script: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_a_start_that_is_still_importing(number: signal.Signals) -> None:
    with started(STARTING, "grid", "digits", "--storage", "http://me:canary@host") as process:
        assert line_of(process) == "importing"
        process.send_signal(number)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert told == (
        "\nInterrupted. Nothing finished is lost; continue with: batch-size grid digits --storage http://me:***@host\n"
    )


def test_ctrl_c_is_how_the_ui_is_ended_also_while_it_starts() -> None:
    with started(STARTING, "ui") as process:
        assert line_of(process) == "importing"
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == 0


@pytest.mark.parametrize("numbers", [(signal.SIGINT, signal.SIGINT), (signal.SIGTERM, signal.SIGHUP)])
def test_a_second_signal_ends_what_is_being_reported_with_all_that_was_started(
    numbers: tuple[signal.Signals, signal.Signals],
) -> None:
    with started(REPORTING, "workloads") as process:
        child = psutil.Process(int(line_of(process)))
        process.send_signal(numbers[0])
        assert line_of(process) == "reporting"
        process.send_signal(numbers[1])
        assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == 130
    assert has_ended(child)


@pytest.fixture
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_the_first_signal_raises_and_the_second_leaves(handlers: None) -> None:
    left: list[int] = []
    heed_signals(left.append)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)
    assert left == []
    signal.raise_signal(signal.SIGINT)
    assert left == [130]


def test_what_a_process_is_to_ignore_stays_ignored(handlers: None) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    heed_signals()
    signal.raise_signal(signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_a_signal_that_is_held_back_comes_when_the_block_has_ended(handlers: None) -> None:
    heed_signals()
    done: list[Any] = []

    def work() -> None:
        with held_back():
            signal.raise_signal(signal.SIGINT)
            done.append("whole")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["whole"]
