from __future__ import annotations

import os
import socket
import sqlite3
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, TEMPORARILY_UNAVAILABLE

from tuning.record.store import (
    TrackingError,
    check_store,
    connect,
    is_transient,
    one_line,
    resolve_tracking_uri,
    sqlite_path,
)


def test_default_store_is_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert resolve_tracking_uri() == f"sqlite:///{tmp_path}/mlflow.db"


def test_mlflows_own_environment_variable_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://host:5000/")
    assert resolve_tracking_uri() == "http://host:5000"
    assert resolve_tracking_uri("sqlite:////x/y.db") == "sqlite:////x/y.db"


def test_a_server_has_no_sqlite_path() -> None:
    assert sqlite_path("http://host:5000") is None


@pytest.mark.parametrize("uri", ["mlruns", "./mlruns", "file:///x/mlruns"])
def test_a_folder_of_files_is_refused_with_the_way_out(uri: str) -> None:
    with pytest.raises(TrackingError, match=r"must name a database or a server; got .*sqlite:///mlflow.db"):
        resolve_tracking_uri(uri)


@pytest.mark.parametrize("uri", ["sqlite://", "sqlite:///:memory:"])
def test_a_store_in_memory_is_refused(uri: str) -> None:
    with pytest.raises(TrackingError, match=r"needs a file; got 'sqlite:"):
        resolve_tracking_uri(uri)


def test_a_malformed_sqlite_uri_is_refused() -> None:
    with pytest.raises(TrackingError, match=r"cannot be read; got 'sqlite:/x.db'"):
        resolve_tracking_uri("sqlite:/x.db")


def test_reading_never_creates_a_store(tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match=r"There is no MLflow store at .*none.db"):
        connect(f"sqlite:///{tmp_path}/none.db")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_a_file_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(TrackingError, match=r"needs a folder that can be written; got .*file .Not a directory"):
        check_store(f"sqlite:///{tmp_path}/file/mlflow.db")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to read-only folders")
def test_a_read_only_folder_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(TrackingError, match=r"needs a folder that can be written"):
        check_store(f"sqlite:///{tmp_path}/mlflow.db")


def test_the_check_leaves_no_trace(tmp_path: Path) -> None:
    check_store(f"sqlite:///{tmp_path}/mlflow.db")
    assert list(tmp_path.iterdir()) == []


def test_another_programs_database_gets_no_tables_added(tmp_path: Path) -> None:
    path = tmp_path / "optuna.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE studies (study_id INTEGER)")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    with pytest.raises(TrackingError, match=r"optuna.db is not an MLflow store"):
        connect(f"sqlite:///{path}", create=True)
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("notes " * 100)
    with pytest.raises(TrackingError, match=r"notes\.txt is not an MLflow store"):
        check_store(f"sqlite:///{tmp_path}/notes.txt")


def test_a_server_that_is_not_there_is_one_line() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        with pytest.raises(TrackingError, match=r"does not answer: no connection, .*Start it, or") as caught:
            connect(f"http://127.0.0.1:{port}")
    assert "\n" not in str(caught.value)


def test_a_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    silent = socket.create_server(("127.0.0.1", 0))
    with silent, pytest.raises(TrackingError, match=r"does not answer: .* no answer in time"):
        connect(f"http://127.0.0.1:{silent.getsockname()[1]}")


def test_only_what_may_pass_is_transient() -> None:
    assert is_transient(MlflowException("locked", error_code=TEMPORARILY_UNAVAILABLE))
    assert not is_transient(MlflowException("bad", error_code=INVALID_PARAMETER_VALUE))
    assert not is_transient(PermissionError("artifacts"))


def test_an_error_is_told_in_one_line() -> None:
    assert one_line(ValueError("a\n  b")) == "a b"
    assert one_line(ValueError()) == "ValueError"
    assert one_line(ValueError("x" * 400), limit=10) == "x" * 9 + "…"
