"""Other processes, as tests see them."""

from __future__ import annotations

import time

import psutil


def has_ended(process: psutil.Process, within_s: float = 30.0) -> bool:
    """Return whether a process ends within some seconds; one whose exit code nobody has asked for counts as ended."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    return False
