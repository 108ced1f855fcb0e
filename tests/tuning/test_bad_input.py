"""Bad input is told in one line, with status 2, and leaves nothing behind."""

from __future__ import annotations

import re
import shlex
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bad_calls import CALLS
from bad_files import GIB, make_all
from bad_inputs import COMMANDS
from fakes_executor import in_this_process

from tuning.cli import main

_RULE = re.compile(
    r"must|needs? |cannot|either|is for|is about|bounds|There is no|is not an|required|expected|unrecognized|invalid"
    r"|brings|splits|has no|does not answer|tries no"
)


@pytest.fixture(scope="module")
def bad_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("bad")
    make_all(directory)
    return directory


@pytest.fixture
def workplace(bad_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The directory of the files, in which nothing may be left, as in that of temporary files."""
    monkeypatch.chdir(bad_files)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in ("MLFLOW_TRACKING_URI", "BATCH_SIZE_STORAGE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("tuning.search.workers.LocalExecutor", in_this_process)
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=GIB, total=GIB))
    before = files_in(bad_files)
    yield bad_files
    assert files_in(bad_files) == before
    assert files_in(tmp_path) == []


def files_in(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.name != "__pycache__" and path.suffix != ".pyc")


def check_line(arguments: list[str], told: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Run a command and check its status and its one line."""
    try:
        status: Any = main(arguments)
    except SystemExit as end:  # argparse's own
        status = end.code
    out, err = capfd.readouterr()
    assert told in err
    assert (status, out, err.count("\n")) == (2, "", 1), err
    assert "Traceback" not in err
    assert err.startswith("batch-size")
    assert re.search(_RULE, err), err


@pytest.mark.parametrize(("command", "told"), COMMANDS, ids=[command[:60] for command, _ in COMMANDS])
def test_bad_input_is_one_line_and_nothing_is_left(
    workplace: Path, command: str, told: str, capfd: pytest.CaptureFixture[str]
) -> None:
    check_line(shlex.split(command), told, capfd)


@pytest.mark.parametrize(
    ("variable", "value", "command", "told"),
    [
        ("MLFLOW_TRACKING_URI", "runs", "pick", "must name a database or a server; got 'runs'"),
        ("MLFLOW_TRACKING_URI", "sqlite:///garbled.db", "grid digits", "Move it aside"),
        (
            "BATCH_SIZE_STORAGE",
            "nonsense",
            "grid here.py:build --data good.npz",
            "reachable; got 'nonsense'",
        ),
    ],
)
def test_so_is_bad_input_of_the_environment(
    workplace: Path,
    variable: str,
    value: str,
    command: str,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(variable, value)
    check_line(shlex.split(command), told, capfd)


def test_there_are_enough_of_them() -> None:
    assert len(COMMANDS) >= 200
    assert len(set(COMMANDS)) == len(COMMANDS)


@pytest.mark.parametrize(
    "number", range(len(CALLS)), ids=[f"{number}-{told[:40]}" for number, (_, _, told) in enumerate(CALLS)]
)
def test_bad_arguments_are_refused_in_one_line(workplace: Path, number: int) -> None:
    call, kind, told = CALLS[number]
    with pytest.raises(kind) as caught:
        call()
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
