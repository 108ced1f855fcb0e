from __future__ import annotations

import os
import re
import socket
import sqlite3
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import (
    ENDPOINT_NOT_FOUND,
    INVALID_PARAMETER_VALUE,
    NOT_IMPLEMENTED,
    PERMISSION_DENIED,
    REQUEST_LIMIT_EXCEEDED,
    RESOURCE_DOES_NOT_EXIST,
    TEMPORARILY_UNAVAILABLE,
    UNAUTHENTICATED,
)
from requests import HTTPError, Response
from sqlalchemy.exc import OperationalError

from tuning.record import sqlite_file, store
from tuning.record.mlflow_tracker import MlflowTracker
from tuning.record.outbox import Reaction
from tuning.record.store import (
    TrackingError,
    answers,
    check_store,
    connect,
    one_line,
    reaction_to,
    resolve_tracking_uri,
    sqlite_path,
)

Usage = namedtuple("Usage", "total used free")


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


def of_artifacts(status: int) -> HTTPError:
    response = Response()
    response.status_code = status
    return HTTPError("no", response=response)


@pytest.mark.parametrize(
    ("error", "reaction"),
    [
        (MlflowException("locked", error_code=TEMPORARILY_UNAVAILABLE), Reaction.WAIT),
        (MlflowException("the server failed"), Reaction.WAIT),
        (MlflowException("too many", error_code=REQUEST_LIMIT_EXCEEDED), Reaction.WAIT),
        (MlflowException("a proxy without its server", error_code=ENDPOINT_NOT_FOUND), Reaction.WAIT),
        (MlflowException("who are you", error_code=UNAUTHENTICATED), Reaction.DENIED),
        (MlflowException("not yours", error_code=PERMISSION_DENIED), Reaction.DENIED),
        (MlflowException("bad", error_code=INVALID_PARAMETER_VALUE), Reaction.REFUSED),
        (MlflowException("no such run", error_code=RESOURCE_DOES_NOT_EXIST), Reaction.REFUSED),
        (MlflowException("never heard of", error_code=NOT_IMPLEMENTED), Reaction.REFUSED),
        (of_artifacts(503), Reaction.WAIT),
        (of_artifacts(401), Reaction.DENIED),
        (of_artifacts(413), Reaction.REFUSED),
        (requests.ConnectionError("gone"), Reaction.WAIT),
        (TimeoutError("slow"), Reaction.WAIT),
        (PermissionError("artifacts"), Reaction.REFUSED),
        (RuntimeError("unknown"), Reaction.WAIT),
    ],
    ids=repr,
)
def test_a_write_is_made_again_unless_it_was_refused_for_good(error: Exception, reaction: Reaction) -> None:
    assert reaction_to(error) is reaction


def test_an_answer_that_never_came_is_waited_for_whatever_mlflow_calls_it() -> None:
    error = MlflowException("API request failed", error_code=INVALID_PARAMETER_VALUE)
    error.__context__ = requests.ConnectionError("refused")
    assert reaction_to(error) is Reaction.WAIT


def test_an_error_is_told_in_one_line() -> None:
    assert one_line(ValueError("a\n  b")) == "a b"
    assert one_line(ValueError()) == "ValueError"
    assert one_line(ValueError("x" * 400), limit=10) == "x" * 9 + "…"


@pytest.mark.parametrize("is_new", [True, False])
def test_an_mlflow_that_does_not_fit_sqlalchemy_is_told_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mlflow_store: Callable[[Path], str], is_new: bool
) -> None:
    def missing(_: str) -> None:
        raise ImportError("cannot import name 'FallbackAsyncAdaptedQueuePool' from 'sqlalchemy.pool'")

    monkeypatch.chdir(tmp_path)  # for which no empty store is kept
    uri = f"sqlite:///{tmp_path}/mlflow.db" if is_new else mlflow_store(tmp_path)
    monkeypatch.setattr(store, "MlflowClient", missing)
    monkeypatch.setattr(sqlite_file, "MlflowClient", missing)
    with pytest.raises(TrackingError, match=r"must fit SQLAlchemy; got .*FallbackAsync.*'sqlalchemy<2.1'"):
        connect(uri, create=True)
    if is_new:
        with pytest.raises(TrackingError, match=r"must fit SQLAlchemy"):
            MlflowTracker(uri).prepare()


@pytest.mark.parametrize(
    "uri", ["sqlite:///mlflow.db?timeout=9", "sqlite:///file:mlflow.db", "sqlite:///file:a?uri=true"]
)
def test_a_sqlite_store_is_the_path_of_a_file_alone(uri: str) -> None:
    with pytest.raises(TrackingError, match=rf"path of a file alone; got {re.escape(repr(uri))}"):
        resolve_tracking_uri(uri)


def test_a_full_disk_is_no_bad_input_and_no_damaged_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mlflow.db").write_text("what sqlite cannot open while it may write nothing")
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(10**9, 10**9, 0))
    with pytest.raises(OSError, match="No space left on device") as caught:
        check_store(f"sqlite:///{tmp_path}/mlflow.db")
    assert caught.value.filename == str(tmp_path / "mlflow.db")


@pytest.mark.parametrize("place", ["tempfile.TemporaryFile", "tuning.record.store.create_file"])
def test_a_disk_that_is_full_at_the_start_is_no_bad_input(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(place, write)
    with pytest.raises(OSError, match="No space left on device"):
        connect(f"sqlite:///{tmp_path}/mlflow.db", create=True)


def test_a_full_disk_while_a_store_is_asked_is_told_as_such(tmp_path: Path) -> None:
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorcode = sqlite3.SQLITE_FULL
    error = MlflowException("something")
    error.__cause__ = OperationalError("INSERT", {}, full)
    with pytest.raises(OSError, match="No space left on device"), answers(f"sqlite:///{tmp_path}/mlflow.db"):
        raise error
