"""What the end of a worker means, and the counter of the kernel's out-of-memory killer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tuning.run.memory_limit import EXIT_CODE
from tuning.run.process import count_kills, has_limited_address_space, may_have_killed, outcome_of_death
from tuning.trial import Status


@pytest.mark.parametrize(
    ("exit_code", "killer", "status", "evidence"),
    [
        (-9, False, Status.LOST, "SIGKILL from outside"),
        (-15, False, Status.LOST, "SIGTERM from outside"),
        (-15, True, Status.LOST, "SIGTERM from outside"),
        (-1, False, Status.LOST, "SIGHUP from outside"),
        (-9, True, Status.OUT_OF_MEMORY, "SIGKILL, as the system does"),
        (-11, False, Status.FAILED, "SIGSEGV"),
        (-6, False, Status.FAILED, "SIGABRT"),
        (EXIT_CODE, False, Status.OUT_OF_MEMORY, "The last words."),
        (1, False, Status.FAILED, "exit code 1. last words"),
        (-8, True, Status.FAILED, "SIGFPE. last words"),
    ],
)
def test_a_death_is_the_training_s_own_or_from_outside(
    exit_code: int, killer: bool, status: Status, evidence: str
) -> None:
    outcome = outcome_of_death("t", exit_code, "first\nlast words", killer_was_at_work=killer)
    assert (outcome.trial_id, outcome.status, outcome.exit_code) == ("t", status, exit_code)
    assert evidence in outcome.reason
    assert outcome.log_tail == "first\nlast words"


def test_a_crash_under_a_limit_on_address_space_is_a_lack_of_memory() -> None:
    outcome = outcome_of_death("t", -11, "", killer_was_at_work=False, limited=True)
    assert (outcome.status, "under a tight limit" in outcome.reason) == (Status.OUT_OF_MEMORY, True)


def test_a_limit_is_read_of_the_process_that_has_it() -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_AS, (2**34, resource.RLIM_INFINITY));"
    with subprocess.Popen(
        [sys.executable, "-c", f"{limit} print('set', flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "set\n"
        assert has_limited_address_space(child.pid)
        child.communicate("\n")
    assert not has_limited_address_space(child.pid)


def test_a_worker_that_said_nothing_has_a_reason_all_the_same() -> None:
    assert outcome_of_death("t", EXIT_CODE, "", killer_was_at_work=False).reason == "The memory limit was exceeded."
    assert outcome_of_death("t", 3, "", killer_was_at_work=False).reason == "The worker died with exit code 3."


@pytest.mark.parametrize(
    ("text", "kills"), [("nr_free_pages 7\noom_kill 3\n", 3), ("nr_free_pages 7\n", None), ("no counters at all", None)]
)
def test_the_counter_is_read_where_the_kernel_has_it(tmp_path: Path, text: str, kills: int | None) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/vmstat").write_text(text)
    assert count_kills(tmp_path) == kills


def test_another_system_does_not_tell(tmp_path: Path) -> None:
    assert count_kills(tmp_path) is None


@pytest.mark.parametrize(("before", "now", "may"), [(2, 2, False), (2, 3, True), (None, 3, True), (2, None, True)])
def test_the_killer_is_cleared_only_by_an_unchanged_count(before: int | None, now: int | None, may: bool) -> None:
    assert may_have_killed(before, now) is may
