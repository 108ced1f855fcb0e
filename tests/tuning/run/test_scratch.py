"""The temporary folder of a driver, and what dead ones have left."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from tuning.run.scratch import Scratch

HOLD = """
import sys, time
from pathlib import Path
from tuning.run.scratch import Scratch

scratch = Scratch(Path(sys.argv[1]))
(scratch.path / "data").write_bytes(b"x" * 1000)
print(scratch.path, flush=True)
time.sleep(60)
"""


def test_a_folder_is_there_until_it_is_closed(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path)
    (scratch.path / "data").mkdir()
    assert scratch.path.is_dir()
    scratch.close()
    assert list(tmp_path.iterdir()) == []
    scratch.close()


def test_what_a_killed_driver_has_left_is_removed_and_what_a_living_one_holds_is_not(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    drivers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        folders = [Path(driver.stdout.readline().strip()) for driver in drivers if driver.stdout is not None]
        drivers[0].send_signal(signal.SIGKILL)
        drivers[0].wait()
        assert all(folder.is_dir() for folder in folders)
        mine = Scratch(tmp_path)
        assert not folders[0].exists()
        assert (folders[1] / "data").exists()
        assert mine.path.is_dir()
        mine.close()
    finally:
        for driver in drivers:
            driver.kill()
            driver.communicate()


def test_a_folder_that_is_just_being_made_is_left_alone(tmp_path: Path) -> None:
    young = tmp_path / "batch-size-scratch-young"
    young.mkdir()
    Scratch(tmp_path).close()
    assert young.is_dir()
