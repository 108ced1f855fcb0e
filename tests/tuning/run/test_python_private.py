"""Python's private names: each test says what breaks when its name goes."""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
from multiprocessing import Pipe

import psutil
import pytest

from tuning.run.python_private import connection_of, run_exit_functions


def test_a_worker_is_reached_by_the_number_of_its_pipe() -> None:
    ours, theirs = Pipe()
    connection_of(os.dup(theirs.fileno())).send({"hello": 1})
    assert ours.recv() == {"hello": 1}


def test_what_is_registered_for_the_exit_runs_before_a_worker_leaves() -> None:
    code = (
        "import atexit, os; from tuning.run.python_private import run_exit_functions; "
        "atexit.register(print, 'put right', flush=True); run_exit_functions(); os._exit(0)"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "put right\n"


def test_a_worker_leaves_without_exit_functions_where_python_has_no_such_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(atexit, "_run_exitfuncs")
    run_exit_functions()


def leaving(code: str, *, stdout: int = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    code = f"import atexit, os, threading, time; from tuning.run.python_private import leave\n{code}"
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, stdout=stdout, text=True, timeout=60, check=False, env=buffered)


def test_a_process_that_leaves_owes_nothing() -> None:
    code = """
class Module:
    def __del__(self):
        print("taken down")
def work():
    time.sleep(0.3)
    print("worked")
kept = Module()
atexit.register(print, "put right")
threading.Thread(target=work).start()
leave(3)
"""
    done = leaving(code)
    assert (done.stdout, done.returncode) == ("worked\nput right\n", 3)


def test_an_idle_pool_of_threads_does_not_hold_a_process_that_leaves() -> None:
    code = """
from concurrent.futures import ThreadPoolExecutor
pool = ThreadPoolExecutor()
pool.submit(print, "worked").result()
leave(0)
"""
    assert leaving(code).stdout == "worked\n"


def test_output_that_cannot_be_written_is_no_success() -> None:
    read, write = os.pipe()
    os.close(read)
    done = leaving("print('nobody reads this')\nleave(0)", stdout=write)
    os.close(write)
    assert done.returncode == 120


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills the children of a process that is killed")
def test_a_killed_driver_leaves_no_worker_behind() -> None:
    child = "from tuning.run.python_private import die_with_parent; die_with_parent(); print('on', flush=True); input()"
    parent = (
        "import subprocess, sys; "
        f"child = subprocess.Popen([sys.executable, '-c', {child!r}], stdin=subprocess.PIPE, stdout=subprocess.PIPE); "
        "child.stdout.readline(); print(child.pid, flush=True); child.wait()"
    )
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        worker = psutil.Process(int(process.stdout.readline()))
        process.kill()
        psutil.wait_procs([worker], timeout=30)
        assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE
