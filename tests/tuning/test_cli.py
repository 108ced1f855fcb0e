"""What the command line makes of errors, whichever command raises them."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import warnings
from collections import namedtuple
from contextlib import closing
from pathlib import Path
from typing import NoReturn

import pytest
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import OperationalError

from tuning.cli import _one_line, main
from tuning.commands import answering
from tuning.record.store import TrackingWarning
from tuning.run.executor import DeviceError

Usage = namedtuple("Usage", "total used free")


def raising(error: Exception) -> object:
    def run(_: object) -> NoReturn:
        raise error

    return run


def test_devices_that_cannot_work_are_told_in_one_line_with_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(answering, "workloads", raising(DeviceError("A search needs a device;\n  every one has gone.")))
    assert main(["workloads"]) == 1
    told = capsys.readouterr().err
    assert told == (
        "batch-size: A search needs a device; every one has gone. "
        "Nothing finished is lost; continue with: batch-size workloads\n"
    )


def test_an_error_of_the_program_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "workloads", raising(RuntimeError("a mistake of ours")))
    with pytest.raises(RuntimeError, match="a mistake of ours"):
        main(["workloads"])


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(28, os.strerror(28), "here/study.journal"), "full at here/study.journal ({free} MB free)"),
        (OSError(28, os.strerror(28)), "full at {here} ({free} MB free)"),
        (StorageInternalError("Optuna's own words"), "full at {here} ({free} MB free)"),
    ],
)
def test_a_full_disk_is_told_in_one_line_with_how_to_go_on(
    error: Exception,
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 10**9, 51_000))
    if isinstance(error, StorageInternalError):
        error.__cause__ = full_sqlite()
    monkeypatch.setattr(answering, "workloads", raising(error))
    assert main(["workloads"]) == 1
    assert capsys.readouterr().err == (
        f"batch-size: The disk is {told.format(here=tmp_path, free='0.1')}. What has ended is recorded; free at least "
        "20 MB there, and continue with: batch-size workloads\n"
    )


def test_another_failure_of_the_machine_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(answering, "workloads", raising(OSError(5, "Input/output error", "study.journal")))
    assert main(["workloads"]) == 1
    assert capsys.readouterr().err == (
        "batch-size: The machine failed: Input/output error (study.journal). What has ended is recorded; mend it, "
        "and continue with: batch-size workloads\n"
    )


def test_only_the_program_itself_has_garbage_collected_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    set_to: list[int] = []
    monkeypatch.setattr("tuning.cli.gc.set_threshold", set_to.append)
    monkeypatch.setattr("tuning.cli.heed_signals", lambda: None)
    monkeypatch.setattr(answering, "workloads", lambda _: 0)
    monkeypatch.setattr("sys.argv", ["batch-size", "workloads"])
    assert main(["workloads"]) == main() == 0
    assert [objects > 700 for objects in set_to] == [True]


def test_a_database_that_fails_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    error = StorageInternalError("Optuna's own words")
    error.__cause__ = ConnectionError("postgresql://me:secret@host:\nserver closed the connection")
    monkeypatch.setattr(answering, "workloads", raising(error))
    assert main(["workloads"]) == 1
    told = capsys.readouterr().err
    assert "does not do what it is asked (postgresql://me:***@host: server closed the connection). What" in told


def test_our_own_warnings_are_one_line_for_people() -> None:
    show = _one_line(warnings.formatwarning)
    assert show("MLflow is away.", TrackingWarning, "file.py", 3) == "batch-size: MLflow is away.\n"
    assert show("Keras is old.", UserWarning, "file.py", 3).startswith("file.py:3: UserWarning: Keras is old.\n")


def full_sqlite() -> Exception:
    """What sqlite raises where its disk is full, as sqlalchemy wraps it."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("PRAGMA max_page_count = 1")
        try:
            connection.execute("CREATE TABLE t (a)")
        except sqlite3.OperationalError as error:
            return OperationalError("INSERT", {}, error)
    raise AssertionError("sqlite has taken more than it may")


def test_the_program_ends_with_the_status_of_its_command_and_takes_nothing_down(tmp_path: Path) -> None:
    code = """
import sys
from tuning import cli
class Module:
    def __del__(self):
        print("taken down")
kept = Module()
sys.argv[1:] = ["pick"]
cli.program()
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("batch-size: ")
