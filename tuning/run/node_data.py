"""The data of a study on a node: written by the first of its workers there, mapped by all, removed by the last."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tuning.run.scratch import LOCK, PREFIX


@contextmanager
def node_data(key: str, write: Callable[[Path], object], parent: Path | None = None) -> Iterator[Path]:
    """Yield the folder of a study's data on this node; who comes first writes it, and others wait for that.

    Whoever uses the folder holds a shared lock, which the system lets go when its process ends, however it ends. So a
    folder whose users have all been killed belongs to nobody, and the next driver or actor on this node removes it.

    Args:
        key: Tells this study's data from those of any other.
        write: Fills a folder that it makes.
        parent: Where; None for the system's directory of temporary files.

    Raises:
        OSError: If there is no room.
    """
    root = (Path(tempfile.gettempdir()) if parent is None else parent) / f"{PREFIX}{key}"
    lock = _locked(root)
    try:
        with (root / "writing").open("w") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            if not (root / "data").is_dir():
                shutil.rmtree(root / "partial", ignore_errors=True)
                write(root / "partial")
                (root / "partial").rename(root / "data")
        yield root / "data"
    finally:
        _leave(root, lock)


def _locked(root: Path) -> int:
    """Return a shared lock on a folder, which is made if it is not there."""
    while True:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            lock = os.open(root / LOCK, os.O_CREAT | os.O_RDWR, 0o600)
        except FileNotFoundError:  # removed between these two lines
            continue
        fcntl.flock(lock, fcntl.LOCK_SH)
        if os.fstat(lock).st_nlink:
            return lock
        os.close(lock)


def _leave(root: Path, lock: int) -> None:
    """Remove the folder, unless others still use it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(root, ignore_errors=True)
    except BlockingIOError:
        pass
    finally:
        os.close(lock)
