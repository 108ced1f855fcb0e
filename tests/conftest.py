"""Shared by all tests: the fakes can be imported, an MLflow store is migrated once, TensorFlow starts in silence."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sqlite3
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
# XLA compiles in a quarter less time where LLVM does not make fast code, of programs that train a few updates.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
sys.path.insert(0, str(Path(__file__).parent))
# The same few examples every time, on however loaded a machine, and none kept on disk.
settings.register_profile(
    "repository",
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
settings.load_profile("repository")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background, which processes would inherit
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Files that take longest, which come first: where two processes share the tests, neither is left with one at the end.
LONGEST = (
    "test_blocks",
    "test_kinds",
    "test_command_line",
    "test_local",
    "test_notebooks",
    "test_probe_command",
    "test_rate_traces",
    "test_inference_of_kinds",
    "test_tuners",
    "test_rows",
    "test_ui",
    "test_keras_tuner_scripts",
    "test_loader",
    "test_input_forms",
    "test_canary",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first, each whole, and leave out what is marked as long, unless all is asked for."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))
    if os.environ.get("TESTS") != "all":
        for item in items:
            if item.get_closest_marker("long"):
                item.add_marker(pytest.mark.skip(reason="it takes long; make test-all runs it"))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is imported stays: no collection of garbage, as Keras asks for after every model, need look at it again."""
    gc.disable()
    found = yield
    gc.collect()
    gc.freeze()
    gc.enable()
    return found


@pytest.fixture(scope="session", autouse=True)
def cache_of_tests(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What is kept in a user's cache is kept beside the tests' own files, which workers of pytest share."""
    import matplotlib as mpl

    os.environ.setdefault(
        "MPLCONFIGDIR", mpl.get_cachedir()
    )  # whose fonts are listed, which else takes seconds, and words
    base = tmp_path_factory.getbasetemp()
    os.environ["XDG_CACHE_HOME"] = str((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache")


@pytest.fixture(scope="session")
def migrated_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store; its migrations take seconds, copying it does not."""
    from tuning.record.store import connect

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    connect(f"sqlite:///{path}", create=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # so that the one file can be copied
    return path


@pytest.fixture(scope="session")
def mlflow_store(migrated_store: Path) -> Callable[[Path], str]:
    """Puts a migrated `mlflow.db` into a directory and returns its URI."""

    def put(directory: Path) -> str:
        shutil.copy(migrated_store, directory / "mlflow.db")
        return f"sqlite:///{directory / 'mlflow.db'}"

    return put


@pytest.fixture(scope="module")
def no_advice() -> Iterator[None]:
    """Searches of the file end without the measurement of plain `fit`, which takes longer than a small training."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tuning.search.answering.advise", lambda *_, **__: None)
        yield
