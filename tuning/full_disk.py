"""Whether an error says that a disk is full, whatever library wraps it, and what people are told of it."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NEEDED_MB = 20
"""What a study should find free: its journal and MLflow's store grew by 1.1 MB for 6 trials of 5 epochs, MLflow's
write-ahead log may take 4 MB, and a report 0.1 MB (measured)."""

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


def is_full_disk(error: BaseException) -> bool:
    """Return whether a full disk, or a user's share of one, is behind an error."""
    return any(
        (isinstance(cause, OSError) and cause.errno in _NO_SPACE)
        or getattr(cause, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
        for cause in _causes(error)
    )


def full_disk_error(path: str | Path, way_out: str = "") -> OSError:
    """Return the error of a full disk.

    Args:
        path: What cannot be written.
        way_out: For people; empty where it is to free what a study needs.
    """
    return OSError(errno.ENOSPC, way_out or os.strerror(errno.ENOSPC), str(path))


def told_of_full_disk(error: OSError) -> tuple[str, str]:
    """Return for people where there is no space, with how much there is, and the way out, with how much is needed."""
    named = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else str(Path.cwd())
    path = Path(named).absolute()
    folder = next(each for each in (path, *path.parents) if each.exists())
    usual = error.strerror in (None, *map(os.strerror, _NO_SPACE))
    way_out = f"free at least {NEEDED_MB} MB there" if usual else str(error.strerror)
    return f"The disk is full at {named} ({shutil.disk_usage(folder).free / 1e6:.1f} MB free)", way_out


def _causes(error: BaseException) -> Iterator[Any]:
    """Yield an error and those behind it, a database driver's included."""
    seen: set[int] = set()
    waiting: list[Any] = [error]
    while waiting:
        cause = waiting.pop()
        if isinstance(cause, BaseException) and id(cause) not in seen:
            seen.add(id(cause))
            yield cause
            waiting += [cause.__cause__, cause.__context__, getattr(cause, "orig", None)]
