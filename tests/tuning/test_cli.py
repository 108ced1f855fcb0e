"""What the command line makes of errors, whichever command raises them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from tuning.cli import main
from tuning.commands import answering
from tuning.run.executor import DeviceError


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


def test_a_full_disk_is_told_in_one_line_with_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(answering, "workloads", raising(OSError(28, "No space left on device", "study.journal")))
    assert main(["workloads"]) == 1
    assert capsys.readouterr().err == (
        "batch-size: The machine failed: No space left on device (study.journal). What has ended is recorded; mend it, "
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
