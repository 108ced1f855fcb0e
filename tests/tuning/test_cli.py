"""What the command line makes of errors, whichever command raises them."""

from __future__ import annotations

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
