"""A migrated sqlite store, made once; real servers on 127.0.0.1; a small study to record."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tuning.tracking.store import connect


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let these tests, too, call mlflow 3.17 on sqlalchemy 2.1, which has deprecated what it calls."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(
                pytest.mark.filterwarnings("ignore:The ``noload`` loader:sqlalchemy.exc.SADeprecationWarning")
            )


@pytest.fixture(scope="session")
def migrated_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store; its migrations take seconds, copying it does not."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    connect(f"sqlite:///{path}", create=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # so that the one file can be copied
    return path


@pytest.fixture
def tracking_uri(migrated_store: Path, tmp_path: Path) -> str:
    """A store of this test's own, in a folder whose name needs quoting in a URI."""
    folder = tmp_path / "a folder #1"
    folder.mkdir()
    shutil.copy(migrated_store, folder / "mlflow.db")
    return f"sqlite:///{folder / 'mlflow.db'}"
