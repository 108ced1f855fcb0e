"""A canary for a password: whole commands are given it, and nothing that they write or say has it."""

from __future__ import annotations

import os
import shlex
import tempfile
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes_executor import in_this_process
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from tuning.cli import main
from tuning.commands import answering
from tuning.record.store import TrackingWarning

pytestmark = pytest.mark.usefixtures("no_advice")
CANARY = "c4n4ry-t3ll5"
SERVER = f"http://me:{CANARY}@tracking.example:5000"
SEARCH = "grid model.py:build --data d.npz --batch-sizes 4,8 --seeds 2 --epochs 1 --no-probe"
MODEL = """
import keras
def build(hp):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", run_eagerly=True)  # less time than to trace it
    return model
"""


class Place:
    """A directory with a workload, a store behind an address with a password, and a database with one.

    Args:
        directory: The directory.
        tracking_uri: Where the store of the address really is.
    """

    def __init__(self, directory: Path, tracking_uri: str) -> None:
        self.directory, self.tracking_uri = directory, tracking_uri
        self.is_away = False
        # SQLite takes words in a file's address that it does not know, and ignores them.
        self.storage = f"sqlite:///file:{directory}/studies.db?uri=true&password={CANARY}"

    def client(self, uri: str) -> MlflowClient:
        """Stands for the client of the server at the address."""
        if uri != SERVER:
            return MlflowClient(uri)
        return AwayClient(self.tracking_uri) if self.is_away else MlflowClient(self.tracking_uri)


class AwayClient(MlflowClient):
    """Takes no values."""

    def log_batch(self, *_: Any, **__: Any) -> None:
        raise MlflowException(f"API request to {SERVER}/api failed")


@pytest.fixture
def place(tmp_path: Path, mlflow_store: Callable[[Path], str], monkeypatch: pytest.MonkeyPatch) -> Place:
    (tmp_path / "model.py").write_text(MODEL)
    x, y = np.linspace(0, 1, 32, dtype="float32").reshape(16, 2), np.linspace(0, 1, 16, dtype="float32")
    np.savez(tmp_path / "d.npz", x_train=x, y_train=y, x_val=x, y_val=y)
    (tmp_path / "store").mkdir()
    (tmp_path / "temporary").mkdir()
    found = Place(tmp_path, mlflow_store(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr("tuning.search.workers.LocalExecutor", in_this_process)
    monkeypatch.setattr("tuning.record.store.MlflowClient", found.client)
    return found


def hits(directory: Path) -> list[str]:
    """The files that hold the canary, as it is or as addresses and JSON write it."""
    words = {CANARY, urllib.parse.quote(CANARY), CANARY.encode("utf-16").decode("latin1")}
    return [
        str(path.relative_to(directory))
        for path in sorted(directory.rglob("*"))
        if CANARY in path.name or (path.is_file() and any(word.encode() in path.read_bytes() for word in words))
    ]


def run(command: str) -> int:
    try:
        return main(shlex.split(command))
    except SystemExit as end:  # argparse's own
        return int(str(end.code))


def check_commands(
    commands: list[tuple[int, str]], place: Place, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Run commands, of which the last tells the address, and look for the canary in all that they leave and say."""
    for status, command in commands:
        monkeypatch.setattr("sys.argv", ["batch-size", *shlex.split(command)])  # what a study's provenance takes
        assert run(command) == status, command
        told = "".join(capfd.readouterr())
        assert CANARY not in told, command
    assert "me:***@tracking.example" in told
    for name in ("report.html", "recommendation.json", "studies.db", "mlflow.db"):
        assert list(place.directory.rglob(name))
    assert hits(place.directory) == []


def test_what_options_tell_is_in_no_store_artifact_report_or_output(
    place: Place, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    search, server = f"{SEARCH} --tracking-uri {SERVER} --storage '{place.storage}'", f"--tracking-uri {SERVER}"
    commands = [
        (0, f"{search} --save-config kept.toml"),
        (2, f"{search} --epochs 3"),  # other settings
        (2, f"{search} --nonsense {SERVER}"),
        (2, f"{search} --study {SERVER}"),
        (2, f"grid model.py:build --data {SERVER}/d.npz"),
        (2, f"grid {SERVER}/model.py:build"),
        (2, f"run {SERVER}/study.toml"),
        (0, f"pick --json {server}"),
        (2, f"pick nothing {server}"),
        (0, f"report {server}"),
        (0, f"ui {server}"),
    ]
    check_commands(commands, place, monkeypatch, capfd)
    kept = (place.directory / "kept.toml").read_text().splitlines()
    assert "# tracking-uri has a password: give it by MLFLOW_TRACKING_URI." in kept
    assert "# storage has a password: give it by BATCH_SIZE_STORAGE." in kept
    assert 'batch-sizes = "4,8"' in kept


def test_what_the_environment_tells_is_in_none_either(
    place: Place, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", SERVER)
    monkeypatch.setenv("BATCH_SIZE_STORAGE", place.storage)
    check_commands([(0, SEARCH), (0, "report"), (0, "ui")], place, monkeypatch, capfd)


def test_no_warning_has_it_when_the_store_goes_away(place: Place, capfd: pytest.CaptureFixture[str]) -> None:
    place.is_away = True
    with pytest.warns(TrackingWarning) as caught:
        run(f"{SEARCH} --tracking-uri {SERVER} --storage '{place.storage}'")
    out, err = capfd.readouterr()
    assert CANARY not in out + err + "".join(str(each.message) for each in caught)
    assert hits(place.directory) == []


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), OSError(28, "No space left on device", SERVER), ValueError(f"got {SERVER}")]
)
def test_no_last_word_has_it(
    error: BaseException, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: object) -> int:
        raise error

    monkeypatch.setattr(answering, "pick", fail)
    assert main(["pick", "--tracking-uri", SERVER]) in (1, 2, 130)
    told = capsys.readouterr().err
    assert "me:***@tracking.example" in told
    assert CANARY not in told


def test_the_search_for_hits_finds_one(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(f"{os.sep}{CANARY}")
    assert hits(tmp_path) == ["a.txt"]
