"""Files of a user that are named like modules that a search needs change nothing: real processes among such files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

WORKLOAD = """
from neighbour import WIDTH

from search_spaces import Workload, load_workload


def build_model():
    import keras

    layers = [keras.Input((64,)), keras.layers.Dense(WIDTH), keras.layers.Dense(10, activation="softmax")]
    model = keras.Sequential(layers)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


mine = Workload("mine", build_model, load_workload("digits").load_data)
"""

TRAIN = """
from search_spaces import load_workload
from tuning.messages import DescribeRequest
from tuning.run.executor import WorkerSetup
from tuning.run.local import LocalExecutor

workload = load_workload("tuning.py:mine")
executor = LocalExecutor(WorkerSetup(workload.build, workload.load_data()), ("cpu:0",))
executor.submit(DescribeRequest("d", {}), "cpu:0")
while not (events := executor.events(60.0)):
    pass
print(events[0])
executor.close()
"""


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A working directory with a workload file named `tuning.py`, and others named like what a worker imports."""
    (tmp_path / "tuning.py").write_text(WORKLOAD)
    (tmp_path / "neighbour.py").write_text("WIDTH = 7\n")
    for name in ("keras.py", "random.py", "numpy.py", "search_spaces/__init__.py", "tuning/__init__.py", "secrets.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("raise SystemExit(f'{__file__} was imported')\n")
    return tmp_path


def run(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a directory as a console script does, which does not look there first."""
    return subprocess.run(
        [sys.executable, "-P", *arguments],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_a_worker_trains_a_file_named_tuning_that_imports_its_neighbour(hostile: Path) -> None:
    done = run(hostile, "-c", TRAIN)
    assert done.returncode == 0, done.stderr
    assert f"parameters={64 * 7 + 7 + 7 * 10 + 10}" in done.stdout


def test_a_worker_whose_driver_looks_in_the_working_directory_first_takes_tuning_from_the_driver(
    tmp_path: Path,
) -> None:
    (tmp_path / "mine.py").write_text(WORKLOAD)
    (tmp_path / "neighbour.py").write_text("WIDTH = 7\n")
    script = "import sys; import tuning; sys.path.insert(0, ''); open('tuning.py', 'w').write('x = 1')\n"
    done = run(tmp_path, "-c", script + TRAIN.replace("tuning.py:mine", "mine.py:mine"))
    assert done.returncode == 0, done.stderr
    assert "parameters=" in done.stdout


def test_a_search_among_such_files_has_an_answer(hostile: Path, mlflow_store: Callable[[Path], str]) -> None:
    mlflow_store(hostile)
    sizes = ("--batch-sizes", "64,256", "--epochs", "1", "--seeds", "1")
    done = run(hostile, "-m", "tuning.cli", "grid", "tuning.py:mine", *sizes, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["trials"]["completed"] == 2
