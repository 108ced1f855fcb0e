"""The file of a sqlite store: a new one with MLflow's tables, made from a script where MLflow's version still has them.

MLflow makes an empty store by every migration that it ever had, which takes .7 s of processor time (measured of
3.17.2); the tables that are left in the end can be written at once. `python -m tuning.record.sqlite_file` writes the
script anew for another version.
"""

from __future__ import annotations

import functools
import os
import sqlite3
import tempfile
from contextlib import closing, suppress
from pathlib import Path

from alembic.util import CommandError
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from tuning.record.mlflow_private import REVISION_TABLE, STORE_TABLE, client_limits

SCRIPT = Path(__file__).with_name("mlflow_tables.sql")
"""Makes MLflow's tables as its migrations leave them, of one revision; no experiment is in them."""


def is_mlflow_store(path: Path) -> bool:
    """Return whether a file that exists holds MLflow's tables, or nothing yet."""
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
    except sqlite3.DatabaseError:
        return False
    return STORE_TABLE in tables or not tables


def prepare_file() -> None:
    """Spend now, and without a trace on disk, the time that the first `create_file` would take."""
    _empty_store(Path.cwd())


def create_file(path: Path) -> None:
    """Make an empty store, unless another search was first.

    It is linked into place when complete: two searches that start at once would meet in MLflow's migrations (mlflow
    #6490), and one that is killed meanwhile would leave half a schema behind.

    Raises:
        OSError: If it cannot be written.
    """
    content = _empty_store(Path.cwd())
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        draft = Path(folder, path.name)
        draft.write_bytes(content)
        if not path.exists():
            for orphan in ("-wal", "-shm"):  # of a store that was removed without them; sqlite would replay them
                path.with_name(path.name + orphan).unlink(missing_ok=True)
        with suppress(FileExistsError):
            os.link(draft, path)


def script_of(store: Path) -> str:
    """Return what `SCRIPT` should hold for the version of MLflow that has made an empty store.

    Args:
        store: Its file.
    """
    with closing(sqlite3.connect(store)) as connection, closing(sqlite3.connect(":memory:")) as copy:
        connection.backup(copy)
        copy.execute(f"DELETE FROM {STORE_TABLE}")  # the default experiment names a directory and a moment
        copy.commit()
        return "\n".join(copy.iterdump()) + "\n"


def revision_of(store: Path) -> str:
    """Return the revision of MLflow's tables in a file."""
    with closing(sqlite3.connect(store)) as connection:
        return str(connection.execute(f"SELECT version_num FROM {REVISION_TABLE}").fetchone()[0])


@functools.cache
def _empty_store(_directory: Path) -> bytes:
    """Return the bytes of a new store, as MLflow's migrations make it; its default experiment names the directory."""
    with tempfile.TemporaryDirectory(prefix="batch-size-") as folder:
        draft = Path(folder, "mlflow.db")
        if not _written_by_script(draft):
            draft = Path(folder, "migrated.db")
            migrate(draft)
        with closing(sqlite3.connect(draft)) as connection:
            # Measured: a third less time per write, and the UI can read while the search writes.
            connection.execute("PRAGMA journal_mode = WAL")
        return draft.read_bytes()


def _written_by_script(draft: Path) -> bool:
    """Make a store by the script, and return whether MLflow takes it as it is: its version has the same tables."""
    try:
        with closing(sqlite3.connect(draft)) as connection:
            connection.executescript(SCRIPT.read_text(encoding="utf-8"))
        written = revision_of(draft)
        migrate(draft)
    except (OSError, sqlite3.Error, MlflowException, SQLAlchemyError, CommandError):
        return False  # the last one is MLflow 2.22's and 3.4's, which do not know the revision
    return revision_of(draft) == written


def migrate(draft: Path) -> None:
    """Have MLflow make its tables, if they are not there, and its default experiment.

    Raises:
        MlflowException: If the tables are those of another version.
    """
    with client_limits(timeout_s=4, retries=1):
        MlflowClient(f"sqlite:///{draft}")


def main() -> None:
    """Write the script of the version of MLflow that is installed."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder, "mlflow.db")
        migrate(store)
        SCRIPT.write_text(script_of(store), encoding="utf-8")


if __name__ == "__main__":
    main()
