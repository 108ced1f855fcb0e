"""What the end of a worker process means for the trial that it ran: the trial's own doing, or that it was lost."""

from __future__ import annotations

import signal
from pathlib import Path

from tuning.loops.failures import status_of_exit
from tuning.run import memory_limit
from tuning.trial import Status, TrialOutcome

_FROM_OUTSIDE = {-number for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGKILL)}
"""Exit codes of signals that no training sends itself: an operator, a scheduler or a shutdown does."""


def outcome_of_death(trial_id: str, exit_code: int, log_tail: str, *, killer_was_at_work: bool) -> TrialOutcome:
    """Return how a trial ended whose worker died.

    A worker that something outside killed has lost its trial, which says nothing about the training. One that the
    system's out-of-memory killer may have killed ran out of memory, as does one that exceeds its own limit. All other
    deaths are the training's own.

    Args:
        trial_id: The trial or request that the worker ran.
        exit_code: How the process ended, -n for signal n.
        log_tail: The last lines of the worker's log.
        killer_was_at_work: Whether the system's out-of-memory killer may have killed a process meanwhile.
    """
    status, reason = _explain(exit_code, log_tail, killer_was_at_work)
    return TrialOutcome(trial_id, status, reason=reason, log_tail=log_tail, exit_code=exit_code)


def _explain(exit_code: int, log_tail: str, killer_was_at_work: bool) -> tuple[Status, str]:
    last = log_tail.splitlines()[-1] if log_tail else ""
    if exit_code == memory_limit.EXIT_CODE:
        return Status.OUT_OF_MEMORY, f"The {last or 'memory limit was exceeded'}."
    if exit_code in _FROM_OUTSIDE and not (exit_code == -signal.SIGKILL and killer_was_at_work):
        name = signal.Signals(-exit_code).name
        return Status.LOST, f"The worker was killed by {name} from outside, not by the system for lack of memory."
    status, reason = status_of_exit(exit_code, log_tail)
    return status, f"{reason} {last}".strip() if status is Status.FAILED else reason


def count_kills(root: Path = Path("/")) -> int | None:
    """Return how many processes Linux has killed for lack of memory, of the machine or of any control group.

    The count goes on from the machine's start. It is None where the kernel does not tell (Linux before 4.13, other
    systems).

    Args:
        root: The root of the file system.
    """
    try:
        entries = dict(line.split() for line in (root / "proc/vmstat").read_text().splitlines())
    except (OSError, ValueError):
        return None
    return int(entries["oom_kill"]) if "oom_kill" in entries else None


def may_have_killed(before: int | None, now: int | None) -> bool:
    """Return whether a death by SIGKILL between two counts may be the killer's: a count is unknown, or has grown."""
    return before is None or now is None or now > before
