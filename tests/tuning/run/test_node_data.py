"""The data of a study on a node: written once, removed by the last, left by nobody for ever."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tuning.run.node_data import node_data
from tuning.run.scratch import LOCK, PREFIX, Scratch


def write(folder: Path) -> None:
    folder.mkdir()
    (folder / "0.npy").write_bytes(b"data")


def test_who_comes_first_writes_and_the_last_removes(tmp_path: Path) -> None:
    written: list[Path] = []
    with node_data("k", lambda folder: (written.append(folder), write(folder)), tmp_path) as first:
        with node_data("k", lambda _: pytest.fail("written twice"), tmp_path) as second:
            assert first == second
            assert (second / "0.npy").read_bytes() == b"data"
        assert (first / "0.npy").exists()
    assert len(written) == 1
    assert list(tmp_path.iterdir()) == []


def test_those_who_come_at_once_write_once(tmp_path: Path) -> None:
    written: list[Path] = []
    together, ready = threading.Barrier(6), threading.Barrier(6)

    def come() -> None:
        together.wait(30)
        with node_data("k", lambda folder: (written.append(folder), write(folder)), tmp_path) as folder:
            assert (folder / "0.npy").read_bytes() == b"data"
            ready.wait(30)

    threads = [threading.Thread(target=come) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(written) == 1
    assert list(tmp_path.iterdir()) == []


def test_other_data_lie_elsewhere(tmp_path: Path) -> None:
    with node_data("one", write, tmp_path) as one, node_data("two", write, tmp_path) as two:
        assert one != two


def test_a_disk_that_is_full_leaves_nothing(tmp_path: Path) -> None:
    def fill(folder: Path) -> None:
        write(folder)
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"), node_data("k", fill, tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_half_of_what_a_killed_one_wrote_is_written_again(tmp_path: Path) -> None:
    partial = tmp_path / f"{PREFIX}k" / "partial"
    partial.mkdir(parents=True)
    (partial / "stale.npy").write_bytes(b"half")
    with node_data("k", write, tmp_path) as folder:
        assert [path.name for path in folder.iterdir()] == ["0.npy"]


KILLED = """
import os, signal, sys
from pathlib import Path
from tuning.run.node_data import node_data
with node_data("k", lambda folder: folder.mkdir(), Path(sys.argv[1])):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_killed_users_leave_goes_with_the_next_driver_and_not_while_others_use_it(tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], env=environment, check=False)
    left = tmp_path / f"{PREFIX}k"
    assert (left / LOCK).exists()
    with node_data("used", write, tmp_path) as used:
        Scratch(tmp_path).close()
        assert not left.exists()
        assert used.exists()
