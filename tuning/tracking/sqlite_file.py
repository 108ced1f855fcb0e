"""The file of a sqlite store: whether it is MLflow's, and how a new one is made."""

from __future__ import annotations

import functools
import os
import sqlite3
import tempfile
from contextlib import closing, suppress
from pathlib import Path

from mlflow import MlflowClient

from tuning.tracking.patience import patience


def is_mlflow_store(path: Path) -> bool:
    """Whether a file that exists holds MLflow's tables, or nothing yet."""
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
    except sqlite3.DatabaseError:
        return False
    return "experiments" in tables or not tables


def prepare_file() -> None:
    """Spend now, and without a trace on disk, the seconds that the first `create_file` would take."""
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


@functools.cache
def _empty_store(_directory: Path) -> bytes:
    """What a new store holds, made by MLflow's migrations; its default experiment names the working directory."""
    with tempfile.TemporaryDirectory(prefix="batch-size-") as folder:
        draft = Path(folder, "mlflow.db")
        with patience(timeout_s=4, retries=1):
            MlflowClient(f"sqlite:///{draft}")
        with closing(sqlite3.connect(draft)) as connection:
            # Measured: a third less time per write, and the UI can read while the search writes.
            connection.execute("PRAGMA journal_mode = WAL")
        return draft.read_bytes()
