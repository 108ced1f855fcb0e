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
        while not (root / "data").is_dir():
            fcntl.flock(lock, fcntl.LOCK_EX)  # Linux lets the shared lock go first, in which moment another may write
            _write_once(root, lock, write)
            os.close(lock)
            lock = _locked(root)
        yield root / "data"
    finally:
        _leave(root, lock)


def _write_once(root: Path, lock: int, write: Callable[[Path], object]) -> None:
    """Write the data, unless somebody has done so, or has taken the folder for an abandoned one and removed it."""
    if (root / "data").is_dir() or not os.fstat(lock).st_nlink:
        return
    shutil.rmtree(root / "partial", ignore_errors=True)
    write(root / "partial")
    (root / "partial").rename(root / "data")


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
