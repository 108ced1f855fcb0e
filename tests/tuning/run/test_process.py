"""A worker process from start to end; scripts of a few lines stand in for the worker, which takes seconds to start."""

from __future__ import annotations

import os
import signal
import time
from multiprocessing.connection import wait
from pathlib import Path

import psutil
import pytest
from contracts import trial_of

from tuning.run import process
from tuning.run.process import WorkerProcess
from tuning.run.pulse import SILENCE_LIMIT_S
from tuning.run.wire import Brief, Hello
from tuning.trial import Status

CONNECT = "import sys; from multiprocessing.connection import Connection; c = Connection(int(sys.argv[1])); c.recv()\n"
UNTIL_DISMISSED = "try:\n    while True: c.recv()\nexcept EOFError: sys.exit(5)"


def start(script: str, monkeypatch: pytest.MonkeyPatch, silence_limit_s: float = SILENCE_LIMIT_S) -> WorkerProcess:
    monkeypatch.setattr(process, "_START", CONNECT + script)
    return WorkerProcess(Hello("cpu:0", []), 3, silence_limit_s)


def test_a_death_is_explained_by_what_was_logged_since_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    script = "print('early', flush=True); c.send('ready'); c.recv(); print('late', flush=True); sys.exit(7)"
    worker = start(script, monkeypatch)
    assert worker.connection.recv() == "ready"
    assert worker.lives
    worker.submit(trial_of("t"))
    outcome = worker.outcome_of_death()
    assert (outcome.trial_id, outcome.status, outcome.exit_code) == ("t", Status.FAILED, 7)
    assert outcome.log_tail == "late"
    assert not worker.lives
    worker.stop("t")  # nobody hears it, nobody minds
    worker.dismiss()


def test_a_long_log_is_told_by_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = start("print('x' * 10**5 + 'end', flush=True); sys.exit(1)", monkeypatch)
    tail = worker.outcome_of_death().log_tail
    assert tail.endswith("xend")
    assert len(tail) == 4000
    worker.dismiss()


def test_an_abort_is_explained_by_its_line_in_front_of_a_long_trace_of_the_stack(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fatal = "F tensorflow/core/gpu_event_mgr.cc:274] Unexpected Event status: 1"
    script = f"print({fatal!r}, *['    @ 0x7fec'] * 1000, sep='\\n', flush=True); import os; os.abort()"
    worker = start(script, monkeypatch)
    outcome = worker.outcome_of_death()
    assert (outcome.status, outcome.reason) == (Status.FAILED, f"The worker died of SIGABRT. {fatal}")
    assert len(outcome.log_tail) == 4000
    worker.dismiss()


def test_an_idle_worker_ends_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = start(UNTIL_DISMISSED, monkeypatch)
    worker.submit(trial_of("t"))
    worker.request = None
    worker.dismiss()
    assert worker.wait() == 5


@pytest.mark.parametrize("has_worked", [True, False])
def test_a_worker_that_is_busy_or_still_starting_is_killed(has_worked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = start(UNTIL_DISMISSED, monkeypatch)
    if has_worked:
        worker.submit(trial_of("t"))
    worker.dismiss()
    assert worker.wait() == -signal.SIGKILL


def test_a_worker_that_does_not_end_is_killed_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_GRACE_S", 0.2)
    worker = start("import time; time.sleep(600)", monkeypatch)
    worker.submit(trial_of("t"))
    worker.request = None
    worker.dismiss()
    assert worker.wait() == -signal.SIGKILL


def test_a_worker_that_does_not_read_what_a_pipe_cannot_hold_is_killed_after_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worker = start("import time; time.sleep(600)", monkeypatch, silence_limit_s=0.5)
    worker.brief(Brief([], bytes(2**23), Path()))
    assert worker.outcome_of_death().exit_code == -signal.SIGKILL
    worker.dismiss()


def test_a_worker_has_the_threads_it_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = start("import os; c.send(os.environ['TF_NUM_INTRAOP_THREADS'])", monkeypatch)
    assert worker.connection.recv() == "3"
    worker.dismiss()
    worker.wait()


CHILD = "import subprocess; child = subprocess.Popen(['sleep', '60'], close_fds=False); c.send(child.pid)\n"


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs Linux's process file descriptors")
def test_a_worker_that_ends_is_noticed_although_a_child_holds_its_connection_and_takes_that_along(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worker = start("import os; os.set_inheritable(int(sys.argv[1]), True)\n" + CHILD + "os._exit(3)", monkeypatch)
    child = worker.connection.recv()
    assert wait([worker.sentinel], 20.0)
    assert not worker.connection.poll()  # nobody has closed it
    assert not worker.lives
    assert worker.outcome_of_death().exit_code == 3
    assert is_gone(child)


def test_a_worker_that_is_killed_takes_its_children_along(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = start(CHILD + UNTIL_DISMISSED, monkeypatch)
    child = worker.connection.recv()
    worker.submit(trial_of("t"))
    worker.dismiss()
    assert worker.wait() == -signal.SIGKILL
    assert is_gone(child)


def is_gone(process_id: int) -> bool:
    """Whether a process has ended; one that its parent has not buried yet has."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if not psutil.pid_exists(process_id) or psutil.Process(process_id).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.02)
    return False


def test_a_gigabyte_of_output_holds_no_worker_up_and_is_told_by_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    script = "import os\nfor _ in range(1024): os.write(1, b'x' * 2**20)\nprint('end', flush=True); sys.exit(1)"
    worker = start(script, monkeypatch)
    assert wait([worker.connection], 60)
    assert worker.outcome_of_death().log_tail == "x" * 3997 + "end"


def test_where_the_system_does_not_tell_of_ends_a_worker_is_watched_by_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(process_id: int) -> int:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", refuse, raising=False)
    worker = start("sys.exit(7)", monkeypatch)
    assert worker.sentinel is None
    assert worker.outcome_of_death().exit_code == 7
    assert not worker.lives
