"""Has the system's out-of-memory killer been at work? A worker that died of SIGKILL does not tell who sent it."""

from __future__ import annotations

from pathlib import Path


def count_kills(root: Path = Path("/")) -> int | None:
    """Processes that Linux has killed for lack of memory, of the machine or of any control group, since it started.

    None where the kernel does not tell (Linux before 4.13, other systems).

    Args:
        root: Of the file system.
    """
    try:
        entries = dict(line.split() for line in (root / "proc/vmstat").read_text().splitlines())
    except (OSError, ValueError):
        return None
    return int(entries["oom_kill"]) if "oom_kill" in entries else None


def may_have_killed(before: int | None, now: int | None) -> bool:
    """Whether a death by SIGKILL between two counts may be the killer's: one is unknown, or the later is more."""
    return before is None or now is None or now > before
