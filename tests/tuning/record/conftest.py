"""A sqlite store of each test's own; real servers on 127.0.0.1; a small study to record."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from fakes_mlflow import FlakyClient, flaky_trackers


@pytest.fixture
def tracking_uri(migrated_store: Path, tmp_path: Path) -> str:
    """A store of this test's own, in a folder whose name needs quoting in a URI."""
    folder = tmp_path / "a folder #1"
    folder.mkdir()
    shutil.copy(migrated_store, folder / "mlflow.db")
    return f"sqlite:///{folder / 'mlflow.db'}"


@pytest.fixture
def flaky(monkeypatch: pytest.MonkeyPatch) -> type[FlakyClient]:
    """The client of the trackers that are made meanwhile; its attributes take the server away."""
    return flaky_trackers(monkeypatch)
