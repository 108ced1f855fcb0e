"""The command as people run it: real processes, real workers, a real MLflow store."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest

GRID = ("grid", "digits", "--batch-sizes", "8,32,128,512", "--epochs", "5", "--seeds", "3", "--json")
Run = subprocess.CompletedProcess[str]


@pytest.fixture
def workplace(tmp_path: Path, mlflow_store: Callable[[Path], str]) -> Path:
    """An empty directory with a migrated MLflow store, whose first use would take seconds."""
    mlflow_store(tmp_path)
    return tmp_path


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "tuning.cli", *arguments]


WATCHED = """
import sys
from tuning.cli import main
code = main()
sys.stdout.flush()
heavy = sorted({name.partition(".")[0] for name in sys.modules} & {"tensorflow", "keras", "keras_tuner"})
print(f"heavy modules: {heavy}", file=sys.stderr)
sys.exit(code)
"""


def batch_size(directory: Path, *arguments: str) -> Run:
    """Run a command in a process of its own, in which TensorFlow, Keras and KerasTuner must have no part."""
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, *arguments],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    told, _, heavy = done.stderr.rpartition("heavy modules: ")
    assert heavy == "[]\n", done.stderr
    done.stderr = told
    return done


def trial_runs(directory: Path, study: str) -> list[Any]:
    client = mlflow.MlflowClient(f"sqlite:///{directory / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(study)
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    return [run for run in runs if "batch_size" in run.data.params]


def test_commands_are_read_without_what_takes_long_to_load(tmp_path: Path) -> None:
    heavy = {"tensorflow", "keras", "mlflow", "optuna", "matplotlib", "scipy.stats", "scipy.optimize"}
    script = f"import atexit, sys, tuning.cli; atexit.register(lambda: print({heavy} & set(sys.modules))); "
    script += "tuning.cli.main(['--help'])"
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert told.stdout.endswith("set()\n")
    assert all(name in told.stdout for name in ("grid", "bayes", "pick", "ui", "workloads"))


def test_workloads_and_a_page_are_told_without_tensorflow(workplace: Path) -> None:
    told = batch_size(workplace, "workloads")
    assert told.returncode == 0
    assert "digits" in told.stdout
    runs_of_another_program(workplace)
    foreign = ("--experiment", "foreign", "--param", "bs", "--metric", "val_accuracy")
    assert batch_size(workplace, "report", *foreign).returncode == 0
    assert (workplace / "report.html").exists()


def test_a_grid_is_complete_in_json_and_in_mlflow_and_pick_agrees(workplace: Path) -> None:
    done = batch_size(workplace, *GRID)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["trials"] == {
        "completed": 12,
        "pruned": 0,
        "out_of_memory": 0,
        "diverged": 0,
        "failed": 0,
        "interrupted": 0,
        "lost": 0,
    }
    assert [row["batch_size"] for row in answer["table"]] == [8, 32, 128, 512]
    assert all(row["seeds"] == 3 and row["examples_per_second"] > 0 for row in answer["table"])
    assert [row["verdict"] for row in answer["table"]].count("recommended") == 1
    assert answer["recommended_batch_size"] in (8, 32, 128, 512)
    assert answer["reasons"]

    runs = trial_runs(workplace, "digits-grid")
    assert sorted((int(run.data.params["batch_size"]), int(run.data.params["seed"])) for run in runs) == [
        (size, seed) for size in (8, 32, 128, 512) for seed in (0, 1, 2)
    ]
    client = mlflow.MlflowClient(f"sqlite:///{workplace / 'mlflow.db'}")
    measured = {"loss", "val_loss", "val_accuracy", "peak_memory_bytes", "examples_per_second"}
    for run in runs:
        assert run.info.status == "FINISHED"
        assert {"learning_rate", "epochs", "loop", "intra_op_threads"} <= run.data.params.keys()
        assert measured <= run.data.metrics.keys()
        assert len(client.get_metric_history(run.info.run_id, "val_accuracy")) == 5

    again = batch_size(workplace, "pick", "--json")
    assert again.returncode == 0, again.stderr
    picked = json.loads(again.stdout)
    for name in ("study", "recommended_batch_size", "learning_rate", "reasons", "trials"):
        assert picked[name] == answer[name], name

    resumed = batch_size(workplace, *GRID)
    assert resumed.returncode == 0
    assert len(trial_runs(workplace, "digits-grid")) == 12

    grown = batch_size(workplace, *GRID, "--batch-sizes", "32", "--seeds", "4")
    assert grown.returncode == 0
    assert "The study grows: seeds 3 -> 4. Trainings that are missing: 1;" in grown.stderr
    assert [row["seeds"] for row in json.loads(grown.stdout)["table"]] == [3, 4, 3, 3]
    assert (
        json.loads(batch_size(workplace, "pick", "--json").stdout)["proceeds"] == json.loads(grown.stdout)["proceeds"]
    )

    other = batch_size(workplace, *GRID, "--epochs", "9")
    assert other.returncode == 2
    assert "cannot go on from 5 to 9 epochs: of 13 trainings, 13 are not kept" in other.stderr
    assert "Its trainings (13) would be trained again: give --epochs 5 to continue it" in other.stderr
    assert other.stderr.count("\n") == 1


@pytest.mark.long  # the README's own commands run one, too
def test_a_staged_search_is_told_picked_again_and_gone_on_with(workplace: Path) -> None:
    arguments = ("tune", "digits", "--batch-sizes", "32,128", "--epochs", "2", "--seeds", "2", "--json")
    done = batch_size(workplace, *arguments)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["recommended_batch_size"] in (32, 128)
    assert answer["cost"] == "seconds to the target"
    assert "Plan: about" in done.stderr
    assert "noise scale" in done.stderr
    trained = sum(answer["trials"].values())
    assert trained >= 5 + 2 + 3 + 2 * 2

    picked = json.loads(batch_size(workplace, "pick", "--json").stdout)
    for name in ("recommended_batch_size", "learning_rate", "reasons", "caveats", "trials", "target"):
        assert picked[name] == answer[name], name

    resumed = json.loads(batch_size(workplace, *arguments).stdout)
    assert resumed["reasons"] == answer["reasons"]
    assert sum(resumed["trials"].values()) == trained


PAIRS = """
import os
import numpy as np
from search_spaces import Data, Workload

def write(x):
    with open(f"pairs-{len(x)}-{os.getpid()}", "ab") as file:
        file.write(x.tobytes())

def build():
    import keras, tensorflow as tf

    class Watched(keras.Model):
        def train_step(self, data):
            tf.numpy_function(write, [data[0]], [])
            return super().train_step(data)

    inputs = keras.Input((3,), dtype="int32")
    model = Watched(inputs, keras.layers.Dense(1)(keras.layers.Rescaling(1e-10)(inputs)))
    model.compile("sgd", "mse")
    return model

def load(x, y, seed):
    import tensorflow as tf
    return tf.concat([[x], seed], 0), y

def data():
    rows, targets = np.arange(1100, dtype="int32"), np.zeros(1100)
    return Data(rows, targets, rows, targets, load=load, load_val=lambda x, y: (x + np.zeros(3, "int32"), y))

pairs = Workload("pairs", build, data, epochs=2)
"""


def pairs_of(file: Path) -> np.ndarray[Any, Any]:
    """What a trial of two epochs was given, row and seed of each example; what was timed after it is left out."""
    content, size = file.read_bytes(), int(file.name.split("-")[1])
    pairs = np.frombuffer(content[: len(content) // 12 * 12], "int32").reshape(-1, 3)
    return pairs[: 2200 // size * size]


def test_a_killed_driver_resumes_to_each_trial_once_on_the_same_examples_and_seeds(workplace: Path) -> None:
    (workplace / "pairs.py").write_text(PAIRS)
    sizes = ("8", "100", "512")
    unmeasured = ("--loop", "keras", "--threads", "1")  # what is timed beforehand would be written, too
    arguments = ("grid", "pairs.py:pairs", "--batch-sizes", ",".join(sizes), "--seeds", "1", *unmeasured, "--json")
    with subprocess.Popen(command(*arguments), cwd=workplace, stderr=subprocess.PIPE, text=True) as driver:
        deadline = time.monotonic() + 300
        while len({file.name.split("-")[1] for file in workplace.glob("pairs-*-*")} & set(sizes)) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.kill(driver.pid, signal.SIGKILL)
    written = {file: pairs_of(file) for size in sizes for file in workplace.glob(f"pairs-{size}-*")}
    done = batch_size(workplace, *arguments)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["trials"]["completed"] == 3
    finished = [run.data.params for run in trial_runs(workplace, "pairs-grid") if run.info.status == "FINISHED"]
    assert sorted((int(params["batch_size"]), int(params["seed"])) for params in finished) == [
        (8, 0),
        (100, 0),
        (512, 0),
    ]
    whole = max((pairs_of(file) for file in workplace.glob("pairs-8-*")), key=len)
    assert len(whole) == 2200
    resumed = [file for size in sizes for file in workplace.glob(f"pairs-{size}-*") if file not in written]
    assert resumed
    for pairs in (*written.values(), *map(pairs_of, resumed)):
        np.testing.assert_array_equal(pairs, whole[: len(pairs)])


def test_ctrl_c_says_how_to_go_on(workplace: Path) -> None:
    arguments = ("grid", "digits", "--batch-sizes", "8", "--epochs", "2000", "--seeds", "1")
    with subprocess.Popen(command(*arguments), cwd=workplace, stderr=subprocess.PIPE, text=True) as driver:
        deadline = time.monotonic() + 120
        journal = workplace / "batch_size_studies" / "digits-grid" / "study.journal"
        while not (journal.exists() and '"trial_id":"0000"' in journal.read_text()):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        time.sleep(1.0)
        driver.send_signal(signal.SIGINT)
        _, told = driver.communicate(timeout=60)
    assert driver.returncode == 130
    assert "continue with: batch-size grid digits" in told
    assert "Traceback" not in told


def runs_of_another_program(directory: Path) -> None:
    client = mlflow.MlflowClient(f"sqlite:///{directory / 'mlflow.db'}")
    experiment = client.create_experiment("foreign")
    for size, accuracy in ((16, 0.9), (16, 0.91), (64, 0.95), (64, 0.94)):
        run = client.create_run(experiment)
        client.log_param(run.info.run_id, "bs", size)
        client.log_metric(run.info.run_id, "val_accuracy", accuracy)
        client.set_terminated(run.info.run_id)


def test_runs_of_another_program_are_picked_from(workplace: Path) -> None:
    runs_of_another_program(workplace)
    arguments = ("--experiment", "foreign", "--param", "bs", "--metric", "val_accuracy", "--json")
    done = batch_size(workplace, "pick", *arguments)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["recommended_batch_size"] == 64
    assert [row["seeds"] for row in answer["table"]] == [2, 2]


def test_no_completed_trial_is_no_success(workplace: Path) -> None:
    workload = (
        "def build():\n    import keras\n    m = keras.Sequential([keras.Input((64,)), keras.layers.Dense(10)])\n"
    )
    workload += "    m.compile(keras.optimizers.SGD(1e30), 'mse')\n    return m\n"
    (workplace / "diverging.py").write_text(workload)
    x, y = np.ones((64, 64), "float32"), np.ones((64, 10), "float32")
    np.savez(workplace / "d.npz", x_train=x, y_train=y, x_val=x, y_val=y)
    done = batch_size(workplace, "grid", "diverging.py:build", "--data", "d.npz", "--batch-sizes", "8", "--seeds", "1")
    assert done.returncode == 1
    assert "1 diverged" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_build_function_that_ends_its_worker_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "leaves.py").write_text("import os\ndef build(hp): os._exit(3)\n")
    x, y = np.ones((16, 2), "float32"), np.ones(16, "float32")
    np.savez(tmp_path / "d.npz", x_train=x, y_train=y, x_val=x, y_val=y)
    done = batch_size(tmp_path, "grid", "leaves.py:build", "--data", "d.npz")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert "exit code 3" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "__pycache__") == ["d.npz", "leaves.py"]
