"""The end of what a worker prints, however much that is and whoever still holds the pipe."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import closing

import pytest

from tuning.run.output import KEPT_BYTES, Output


@pytest.fixture
def output() -> Iterator[Output]:
    with closing(Output()) as made:
        yield made


def run(output: Output, script: str) -> None:
    """Have another process print, and wait for its end."""
    subprocess.run([sys.executable, "-c", script], stdout=output.writing, stderr=subprocess.STDOUT, check=True)


def test_the_end_of_what_was_printed_by_python_and_below_it_is_kept(output: Output) -> None:
    run(output, "import os; print('above', flush=True); os.write(2, b'below')")
    assert output.end() == "above\nbelow"


def test_what_was_printed_before_the_beginning_is_forgotten(output: Output) -> None:
    run(output, "print('early')")
    output.begin()
    run(output, "print('late')")
    assert output.end() == "late"


def test_much_is_printed_without_waiting_and_little_is_kept(output: Output) -> None:
    tracemalloc.start()
    run(output, "import os; [os.write(1, b'x' * 2**20) for _ in range(64)]; print('end', flush=True)")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert output.end() == "x" * (KEPT_BYTES - 4) + "end"
    assert most < 4 * 2**20


def test_what_is_cut_within_a_character_can_be_told(output: Output) -> None:
    run(output, f"print('é' * {KEPT_BYTES}, end='x')")
    assert output.end().endswith("éx")


def test_one_who_holds_the_pipe_open_is_not_waited_for() -> None:
    output = Output()
    run(output, "import subprocess; print(subprocess.Popen(['sleep', '60'], start_new_session=True).pid)")
    output.hand_over()
    output.close()
    os.kill(int(output.end()), signal.SIGKILL)


def test_one_who_prints_without_end_is_not_waited_for() -> None:
    output = Output()
    with subprocess.Popen(["yes"], stdout=output.writing) as printing:
        output.hand_over()
        while not output.end():
            time.sleep(0.01)
        output.close()
        assert printing.wait(20) != 0  # nobody reads any more


def test_it_leaves_no_descriptor_and_no_thread() -> None:
    before = len(os.listdir("/proc/self/fd"))
    output = Output()
    output.hand_over()
    output.close()
    output.close()
    assert output.end() == ""
    assert len(os.listdir("/proc/self/fd")) == before
    assert not output._thread.is_alive()
