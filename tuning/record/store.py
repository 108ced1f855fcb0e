"""Where MLflow keeps its records: finding a store, reaching it within seconds, and telling its failures apart."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from requests.exceptions import HTTPError, RequestException
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from tuning.full_disk import full_disk_error, is_full_disk
from tuning.passwords import without_passwords
from tuning.record.mlflow_private import client_limits, is_unanswered, status_of
from tuning.record.outbox import Reaction
from tuning.record.sqlite_file import create_file, is_mlflow_store

DEFAULT_TRACKING_URI = "sqlite:///mlflow.db"
_REBUILD = (
    "Move it aside, and the same search writes its trials anew from the study's own record; or name another file with "
    "--tracking-uri."
)
_TRY_LATER = (408, 409, 425, 429)  # too slow, in conflict with another write, too early, too many
_BUSY = (429, 503)  # such as a locked database
_NOT_IMPLEMENTED = 501
_LEAST_FREE_BYTES = 2**16  # below, sqlite can open no store whose write-ahead log it would have to make
_BACKGROUND = re.compile(r" ?\(Background on this error at: \S+\)")  # sqlalchemy's, for programmers


class TrackingError(ValueError):
    """MLflow cannot be reached, or does not hold what was asked; one line with the way out, without passwords."""

    def __init__(self, message: str) -> None:
        super().__init__(without_passwords(message))


class StoreAwayError(TrackingError):
    """A server does not answer, or lets nobody in; what it was asked may succeed later.

    Args:
        message: One line for people.
        error: What MLflow raised.
    """

    def __init__(self, message: str, error: Exception) -> None:
        super().__init__(message)
        self.error = error


class TrackingWarning(UserWarning):
    """Something did not reach MLflow; the search itself is not affected."""


def resolve_tracking_uri(tracking_uri: str | None = None) -> str:
    """Return the store's URI, the path of a sqlite file made absolute so that changing directory does no harm.

    Args:
        tracking_uri: `sqlite:///FILE`, `http(s)://HOST:PORT`, or whatever else MLflow takes; None reads the
            environment's `MLFLOW_TRACKING_URI`, else `mlflow.db` in the working directory.

    Raises:
        TrackingError: If it is a directory of files, which MLflow 3 no longer writes, sqlite without a file, or a
            server without a host.
    """
    uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_TRACKING_URI
    if urlsplit(uri).scheme in ("", "file") and uri != "databricks":
        raise TrackingError(
            f"The tracking URI must name a database or a server; got {uri!r}. "
            f"Use {DEFAULT_TRACKING_URI}, or http://HOST:PORT of an MLflow server."
        )
    if is_server(uri) and not urlsplit(uri).hostname:
        raise TrackingError(f"An MLflow server needs a host; got {uri!r}. Use http://HOST:PORT.")
    path = sqlite_path(uri)
    return uri.rstrip("/") if path is None else f"sqlite:///{path}"


def sqlite_path(tracking_uri: str) -> Path | None:
    """Return the absolute path of a sqlite store's file, or None for any other kind of store.

    Raises:
        TrackingError: If the URI is no URI, names no file, or has more than the path of a file.
    """
    if not tracking_uri.startswith("sqlite"):
        return None
    try:
        url = make_url(tracking_uri)
    except ArgumentError:
        raise TrackingError(
            f"The tracking URI cannot be read; got {tracking_uri!r}. Use {DEFAULT_TRACKING_URI}."
        ) from None
    if not url.database or url.database == ":memory:":
        raise TrackingError(f"A sqlite store needs a file; got {tracking_uri!r}. Use {DEFAULT_TRACKING_URI}.")
    if url.query or url.database.startswith("file:"):
        raise TrackingError(
            f"A sqlite store must be the path of a file alone; got {tracking_uri!r}. Use {DEFAULT_TRACKING_URI}."
        )
    return Path(url.database).expanduser().absolute()


def is_server(tracking_uri: str) -> bool:
    """Return whether the store is an MLflow server reached over HTTP."""
    return urlsplit(tracking_uri).scheme in ("http", "https")


def check_store(tracking_uri: str) -> None:
    """Refuse a sqlite store that could not be written, leaving no trace; nothing is known yet about other stores.

    Raises:
        TrackingError: If its folder cannot be written, or its file is something else.
        OSError: If the disk is full.
    """
    path = sqlite_path(tracking_uri)
    if path is not None:
        _check_sqlite(path, create=True)


def connect(tracking_uri: str, *, create: bool = False) -> MlflowClient:
    """Return a client of a store that has answered.

    Args:
        tracking_uri: As `resolve_tracking_uri` returns it.
        create: Make a sqlite store that does not exist yet, instead of refusing. The first use takes some seconds.

    Raises:
        StoreAwayError: If a server does not answer within about ten seconds, or lets nobody in.
        TrackingError: If the store does not exist or cannot be written, or what answers is no MLflow server.
        OSError: If the disk of a sqlite store is full.
    """
    path = sqlite_path(tracking_uri)
    if path is not None:
        _check_sqlite(path, create=create)
        if not path.exists():
            _create_sqlite(path)
    try:
        with client_limits(timeout_s=4, retries=1):
            client = MlflowClient(tracking_uri)
            client.search_experiments(max_results=1)
    except ImportError as error:
        raise misfit(error) from None
    except Exception as error:
        message = (
            f"The MLflow store at {tracking_uri} does not answer: {_why(error).rstrip('.')}. "
            f"{'Start it, or name another with --tracking-uri.' if path is None else _REBUILD}"
        )
        raise _failure(message, tracking_uri, error) from None
    return client


def client_of_server(tracking_uri: str) -> MlflowClient:
    """Return a client of a server that may be away, which only its use tells."""
    return MlflowClient(tracking_uri)


@contextmanager
def answers(tracking_uri: str) -> Iterator[None]:
    """Ask MLflow something that is waited for: whatever fails in the block becomes one line.

    Raises:
        StoreAwayError: If a server does not answer, or lets nobody in.
        OSError: If the disk of a sqlite store is full.
        TrackingError: Instead of whatever else MLflow or its database raises.
    """
    try:
        with client_limits(timeout_s=30, retries=1):
            yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        is_busy = isinstance(error, MlflowException) and status_of(error) in _BUSY
        way_out = f" {_REBUILD}" if sqlite_path(tracking_uri) and not is_busy else ""
        message = f"The MLflow store at {tracking_uri} failed: {_why(error).rstrip('.')}.{way_out}"
        raise _failure(message, tracking_uri, error) from error


def _failure(message: str, tracking_uri: str, error: Exception) -> TrackingError | OSError:
    """Return the error for people: a full disk is none of the store's, and a server may answer later."""
    path = sqlite_path(tracking_uri)
    if path is not None and is_full_disk(error):
        return full_disk_error(path)
    is_denied = isinstance(error, MlflowException) and reaction_to(error) is Reaction.DENIED
    if is_server(tracking_uri) and (is_denied or is_unanswered(error)):
        return StoreAwayError(message, error)
    return TrackingError(message)


def reaction_to(error: Exception) -> Reaction:
    """Return whether the same write may succeed later, and if so, whether the store must let us in first.

    A store refuses what it cannot read, or what belongs to a run that is not there. It may succeed later where nothing
    answered, a server failed or refused for now, a database is locked, or a proxy does not find its server.
    """
    if isinstance(error, TrackingError):  # our own, as of an experiment that is another program's
        return Reaction.REFUSED
    if isinstance(error, MlflowException) and not is_unanswered(error):
        return _reaction_to_status(status_of(error), found=error.error_code != "ENDPOINT_NOT_FOUND")
    if isinstance(error, HTTPError) and error.response is not None:  # of artifacts
        return _reaction_to_status(error.response.status_code)
    is_local = isinstance(error, OSError) and not isinstance(error, RequestException | ConnectionError | TimeoutError)
    return Reaction.REFUSED if is_local else Reaction.WAIT  # such as a folder of artifacts that cannot be written


def _reaction_to_status(status: int, *, found: bool = True) -> Reaction:
    if status in (401, 403):
        return Reaction.DENIED
    may_pass = status >= 500 or status in _TRY_LATER or not found
    return Reaction.WAIT if may_pass and status != _NOT_IMPLEMENTED else Reaction.REFUSED


def misfit(error: ImportError) -> TrackingError:
    """Return what to say where MLflow cannot import its own database's library: 2.22 and 3.4 miss names of 2.1."""
    return TrackingError(
        f"MLflow {version('mlflow')} must fit SQLAlchemy; got {version('sqlalchemy')} ({one_line(error)}). "
        "Install a newer mlflow, or 'sqlalchemy<2.1'."
    )


def one_line(error: BaseException, limit: int = 300) -> str:
    """Return the error's message without line breaks, cut to `limit` characters."""
    text = _BACKGROUND.sub("", " ".join(str(error).split())) or type(error).__name__
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _why(error: Exception) -> str:
    if is_unanswered(error, retried=False):
        return "no connection, or no answer in time"
    return one_line(error)


def _check_sqlite(path: Path, *, create: bool) -> None:
    if create:
        _check_writable(path.parent)
    elif not path.exists():
        raise TrackingError(
            f"There is no MLflow store at {path}. Run a search first, or name another with --tracking-uri."
        )
    if path.exists() and not is_mlflow_store(path):
        if shutil.disk_usage(path.parent).free < _LEAST_FREE_BYTES:
            raise full_disk_error(path)
        # MLflow would add its own tables to it.
        raise TrackingError(f"{path} is not an MLflow store, or a damaged one. {_REBUILD}")


def _check_writable(folder: Path) -> None:
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        if is_full_disk(error):
            raise
        raise TrackingError(
            f"MLflow's store needs a folder that can be written; got {folder} ({error.strerror}). "
            "Work in another one, or name another store with --tracking-uri."
        ) from None


def _create_sqlite(path: Path) -> None:
    try:
        create_file(path)
    except ImportError as error:
        raise misfit(error) from None
    except OSError as error:
        if is_full_disk(error):
            raise
        raise TrackingError(f"The MLflow store {path} cannot be made: {one_line(error)}.") from None
