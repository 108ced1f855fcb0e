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
