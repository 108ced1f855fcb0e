"""The journal of a study: one JSON record in a line, mended where a crash or a full disk has torn one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

_RECORD = b'{"op_code"'  # how Optuna 5 begins every record


def unlock(path: Path) -> None:
    """Remove the lock that Optuna holds while it writes and that a driver leaves which is killed meanwhile.

    The next driver would wait for it for ever (optuna 5.0.0).

    Args:
        path: The journal. No other process writes to it.
    """
    path.with_suffix(f"{path.suffix}.lock").unlink(missing_ok=True)


def mend(path: Path) -> bool:
    """Take torn records out of a journal, so that what is written next begins a line of its own.

    A record that a crash, a power cut or a full disk has cut off was never seen by any driver, so nothing refers to it.
    A driver that did not mend wrote its next record behind it, in the same line; that one is kept. What there was is
    kept beside the journal, with the ending `.torn`.

    Args:
        path: The journal; it may be absent. No other process writes to it.

    Returns:
        Whether there was anything to mend.
    """
    if not path.exists():
        return False
    before = path.read_bytes()
    after = b"".join(_whole_lines(before))
    if after == before:
        return False
    path.with_suffix(f"{path.suffix}.torn").write_bytes(before)
    mended = path.with_suffix(f"{path.suffix}.mended")
    with mended.open("wb") as file:
        file.write(after)
        file.flush()
        os.fsync(file.fileno())
    mended.replace(path)  # either the old journal or the new one, whatever happens meanwhile
    return True


def _whole_lines(content: bytes) -> Iterator[bytes]:
    for line in content.splitlines(keepends=True):
        record = _whole_record(line)
        if record:
            yield record if record.endswith(b"\n") else record + b"\n"


def _whole_record(line: bytes) -> bytes:
    """Return the record of a line, or the last one where a torn one stands before it; empty if there is none."""
    begin = 0
    while begin >= 0:
        try:
            json.loads(line[begin:])
        except ValueError:
            begin = line.find(_RECORD, begin + 1)
        else:
            return line[begin:]
    return b""
