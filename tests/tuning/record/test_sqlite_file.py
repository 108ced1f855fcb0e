"""A new sqlite store appears complete, and only where none was."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tuning.record.mlflow_tracker import MlflowTracker
from tuning.record.store import connect, create_file, prepare_file


def test_a_new_store_is_complete_and_leaves_no_draft(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    client = connect(f"sqlite:///{tmp_path}/mlflow.db", create=True)
    assert {path.name for path in tmp_path.iterdir()} <= {"mlflow.db", "mlflow.db-wal", "mlflow.db-shm"}
    assert client.create_experiment("first") == "1"
    assert capfd.readouterr() == ("", "")


def test_a_removed_stores_leftovers_do_not_enter_the_new_one(tmp_path: Path) -> None:
    old = sqlite3.connect(tmp_path / "mlflow.db")
    old.execute("PRAGMA journal_mode = WAL")
    old.execute("CREATE TABLE experiments (name TEXT)")
    (tmp_path / "mlflow.db").unlink()
    assert (tmp_path / "mlflow.db-wal").stat().st_size > 0
    client = connect(f"sqlite:///{tmp_path}/mlflow.db", create=True)
    old.close()
    assert client.create_experiment("first") == "1"


def test_the_store_that_was_there_first_stays(tmp_path: Path, migrated_store: Path) -> None:
    path = tmp_path / "mlflow.db"
    path.write_bytes(migrated_store.read_bytes())
    connect(f"sqlite:///{path}").create_experiment("precious")
    create_file(path)
    assert connect(f"sqlite:///{path}").get_experiment_by_name("precious") is not None


def test_preparing_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    prepare_file()
    MlflowTracker().prepare()
    assert list(tmp_path.iterdir()) == []


def test_the_default_experiment_lies_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        default = connect(f"sqlite:///{tmp_path}/{name}/mlflow.db", create=True).get_experiment("0")
        assert default.artifact_location == str(tmp_path / name / "mlruns" / "0")
