"""With what a search was started, without saying where."""

from __future__ import annotations

import platform

import pytest
from fakes import device

from tuning.search.preparation import provenance


@pytest.mark.parametrize("program", ["/home/me/.venv/bin/batch-size", "/home/me/tuning/cli.py"])
def test_the_command_is_told_without_the_program_s_folder(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", [program, "grid", "my model.py:build", "--seeds", "2"])
    assert provenance([device()])["command"] == "batch-size grid 'my model.py:build' --seeds 2"


def test_a_script_or_a_notebook_has_no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/home/me/train.py", "--secret"])
    assert provenance([device()])["command"] == ""


def test_the_versions_that_decide_what_is_computed_are_told() -> None:
    told = dict(line.split(" ", 1) for line in provenance([device()])["versions"].splitlines())
    assert told["python"] == platform.python_version()
    assert {"machine", "keras", "optuna", "mlflow", "numpy"} <= told.keys()


def test_the_machines_are_those_that_train_each_kind_once() -> None:
    devices = [
        device("gpu:0", kind="H100", cores=64),
        device("gpu:1", kind="H100", cores=64),
        device(kind="Xeon", cores=8),
    ]
    told = provenance(devices)["versions"].splitlines()
    assert [line for line in told if line.startswith("machine")] == ["machine H100, 64 cores", "machine Xeon, 8 cores"]
