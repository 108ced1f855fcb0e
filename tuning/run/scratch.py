"""Scratch: the temporary folder of a driver, with its arrays; those of dead drivers are removed.

A driver that is killed removes nothing. Each holds a lock on a file in its folder, which the system lets go when the
driver ends, however it ends, and which holds across containers that share a temporary directory: a folder whose lock is
free belongs to nobody.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

PREFIX = "batch-size-scratch-"
LOCK = "lock"


class Scratch:
    """A new temporary folder, until it is closed.

    Args:
        parent: Where; None for the system's directory of temporary files.
    """

    def __init__(self, parent: Path | None = None) -> None:
        _sweep(Path(tempfile.gettempdir()) if parent is None else parent)
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        self._lock = os.open(self.path / LOCK, os.O_CREAT | os.O_RDWR)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def close(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.path, ignore_errors=True)
        with contextlib.suppress(OSError):  # closed before
            os.close(self._lock)


def _sweep(parent: Path) -> None:
    """Remove the folders of drivers that have ended; one that is just being made has no lock file yet, and stays."""
    for lock in parent.glob(f"{PREFIX}*/{LOCK}"):
        with contextlib.suppress(OSError):  # another user's, or another driver sweeps, too
            descriptor = os.open(lock, os.O_RDWR)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(lock.parent, ignore_errors=True)
            finally:
                os.close(descriptor)
