"""Bystanders: how much of the machine other processes used while something was timed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Moment:
    """Readings of one moment.

    Args:
        wall_s: A clock, in seconds.
        own_s: The processor time of this process so far, of all its threads, in seconds.
        busy_s: That of the whole machine, all its cores together; None where the system does not tell.
        cores: The cores of the whole machine.
    """

    wall_s: float
    own_s: float
    busy_s: float | None
    cores: int

    def others_since(self, before: Moment) -> float | None:
        """Return the share of the machine's processor time that others took meanwhile, from 0 to 1.

            (busy - own) / (cores * wall)

        It is None where the machine does not tell, or no time has passed.
        """
        wall = self.wall_s - before.wall_s
        if self.busy_s is None or before.busy_s is None or wall <= 0:
            return None
        others = (self.busy_s - before.busy_s) - (self.own_s - before.own_s)
        return min(1.0, max(0.0, others / (self.cores * wall)))


def read_moment(root: Path = Path("/"), wall: Callable[[], float] = time.perf_counter) -> Moment:
    """Return the readings of now; the machine's own count moves every hundredth of a second.

    Args:
        root: The root of the file system.
        wall: The clock, in seconds.
    """
    busy, cores = _busy_seconds(root)
    return Moment(wall(), time.process_time(), busy, cores)


def _busy_seconds(root: Path) -> tuple[float | None, int]:
    """Return the seconds that the cores have worked, and their number.

    Source: proc(5) of Linux: user, nice, system, idle, iowait, irq, softirq, steal; further fields are contained in
    the first two. Idle and waiting for disks is no work; what a hypervisor has stolen is others'.
    """
    try:
        lines = (root / "proc/stat").read_text().splitlines()
        fields = [int(field) for field in lines[0].split()[1:9]]
        cores = sum(line.startswith("cpu") for line in lines) - 1
        idle, waiting = fields[3:5]
        return (sum(fields) - idle - waiting) / os.sysconf("SC_CLK_TCK"), max(1, cores)
    except (OSError, ValueError, IndexError):  # no Linux, or a sandbox that shows nothing
        return None, 1
