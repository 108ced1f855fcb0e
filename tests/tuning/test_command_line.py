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

from tuning.cli import main

GRID = ("grid", "digits", "--batch-sizes", "8,32,128,512", "--epochs", "5", "--seeds", "3", "--json")
Run = subprocess.CompletedProcess[str]


@pytest.fixture
def workplace(tmp_path: Path, mlflow_store: Callable[[Path], str]) -> Path:
    """An empty directory with a migrated MLflow store, whose first use would take seconds."""
    mlflow_store(tmp_path)
    return tmp_path


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "tuning.cli", *arguments]


def batch_size(directory: Path, *arguments: str) -> Run:
    return subprocess.run(command(*arguments), cwd=directory, capture_output=True, text=True, check=False, timeout=500)


def trial_runs(directory: Path, study: str) -> list[Any]:
    client = mlflow.MlflowClient(f"sqlite:///{directory / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(study)
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    return [run for run in runs if "batch_size" in run.data.params]


def test_help_starts_without_tensorflow(tmp_path: Path) -> None:
    script = "import atexit, sys, tuning.cli; atexit.register(lambda: print('tensorflow' in sys.modules)); "
    script += "tuning.cli.main(['--help'])"
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert told.stdout.endswith("False\n")
    assert all(name in told.stdout for name in ("grid", "bayes", "pick", "ui", "workloads"))


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

    other = batch_size(workplace, *GRID[:-3], "--seeds", "2")
    assert other.returncode == 2
    assert "seeds was 3, now 2" in other.stderr
    assert other.stderr.count("\n") == 1


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


def test_a_killed_driver_resumes_to_each_trial_once(workplace: Path) -> None:
    arguments = ("grid", "digits", "--batch-sizes", "64,128", "--epochs", "30", "--seeds", "2", "--json")
    with subprocess.Popen(command(*arguments), cwd=workplace, stderr=subprocess.PIPE, text=True) as driver:
        assert driver.stderr is not None
        assert driver.stderr.readline().startswith("[1/4]")
        os.kill(driver.pid, signal.SIGKILL)
    done = batch_size(workplace, *arguments)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["trials"]["completed"] == 4
    finished = [run.data.params for run in trial_runs(workplace, "digits-grid") if run.info.status == "FINISHED"]
    assert sorted((int(params["batch_size"]), int(params["seed"])) for params in finished) == [
        (64, 0),
        (64, 1),
        (128, 0),
        (128, 1),
    ]


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


def test_runs_of_another_program_are_picked_from(workplace: Path) -> None:
    client = mlflow.MlflowClient(f"sqlite:///{workplace / 'mlflow.db'}")
    experiment = client.create_experiment("foreign")
    for size, accuracy in ((16, 0.9), (16, 0.91), (64, 0.95), (64, 0.94)):
        run = client.create_run(experiment)
        client.log_param(run.info.run_id, "bs", size)
        client.log_metric(run.info.run_id, "val_accuracy", accuracy)
        client.set_terminated(run.info.run_id)
    arguments = ("--experiment", "foreign", "--param", "bs", "--metric", "val_accuracy", "--json")
    done = batch_size(workplace, "pick", *arguments)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["recommended_batch_size"] == 64
    assert [row["seeds"] for row in answer["table"]] == [2, 2]


def test_no_completed_trial_is_no_success(workplace: Path) -> None:
    workload = "import keras\ndef build():\n    m = keras.Sequential([keras.Input((64,)), keras.layers.Dense(10)])\n"
    workload += "    m.compile(keras.optimizers.SGD(1e30), 'mse')\n    return m\n"
    (workplace / "diverging.py").write_text(workload)
    x, y = np.ones((64, 64), "float32"), np.ones((64, 10), "float32")
    np.savez(workplace / "d.npz", x_train=x, y_train=y, x_val=x, y_val=y)
    done = batch_size(workplace, "grid", "diverging.py:build", "--data", "d.npz", "--batch-sizes", "8", "--seeds", "1")
    assert done.returncode == 1
    assert "1 diverged" in done.stderr
    assert "Traceback" not in done.stderr


BAD = [
    (("grid", "nonsense"), "A workload must be one of"),
    (("grid", "missing.py:build"), "must exist"),
    (("grid", "here.py:absent"), "no attribute 'absent'"),
    (("grid", "here.py:raises", "--data", "good.npz"), "no model today"),
    (("grid", "here.py:nothing", "--data", "good.npz"), "Model"),
    (("grid", "here.py:uncompiled", "--data", "good.npz"), "compile"),
    (("grid", "here.py:scheduled", "--data", "good.npz", "--learning-rates", "0.1"), "learning-rate schedule"),
    (("grid", "digits", "--data", "absent.npz"), "must exist"),
    (("grid", "digits", "--data", "here.py"), "npz"),
    (("grid", "digits", "--data", "uneven.npz"), "same number of examples"),
    (("grid", "digits", "--data", "nan.npz"), "NaN"),
    (("grid", "digits", "--data", "no_validation.npz"), "validation part"),
    (("grid", "digits", "--batch-sizes", "0"), "at least 1; got 0"),
    (("grid", "digits", "--batch-sizes", "-8"), "at least 1; got -8"),
    (("grid", "digits", "--batch-sizes", "many"), "whole number or 'full'; got 'many'"),
    (("grid", "digits", "--batch-sizes", "99999"), "must not exceed the 1437 training examples"),
    (("grid", "digits", "--objective", "val_f1"), "accuracy, loss, val_accuracy, val_loss"),
    (("grid", "digits", "--epochs", "0"), "epochs must be at least 1"),
    (("grid", "digits", "--seeds", "0"), "seeds must be at least 1"),
    (("grid", "digits", "--workers", "some"), "whole number or 'auto'"),
    (("grid", "digits", "--threads", "many"), "--threads must be a whole number or 'auto'; got 'many'"),
    (("grid", "digits", "--threads", "0"), "threads must be at least 1; got 0"),
    (("grid", "digits", "--schedule-batch-size", "0"), "schedule_batch_size must be a batch size, 'off' or 'training'"),
    (("grid", "digits", "--tracking-uri", "http://127.0.0.1:9"), "127.0.0.1:9"),
    (("bayes", "digits", "--start-batch-size", "0"), "start_batch_size must be at least 1; got 0"),
    (("pick",), "store"),
    (("frobnicate",), "invalid choice"),
]
HERE = """
import keras
def raises(hp): raise RuntimeError("no model today")
def nothing(hp): return 3
def uncompiled(hp): return keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
class Own(keras.optimizers.schedules.LearningRateSchedule):
    def __call__(self, step): return 0.1
def scheduled(hp):
    model = uncompiled(hp)
    model.compile(keras.optimizers.SGD(Own()), "mse")
    return model
"""


@pytest.fixture(scope="module")
def bad_inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("bad")
    (directory / "here.py").write_text(HERE)
    x, y = np.ones((16, 2), "float32"), np.ones(16, "float32")
    np.savez(directory / "good.npz", x_train=x, y_train=y, x_val=x, y_val=y)
    np.savez(directory / "uneven.npz", x_train=x, y_train=y[:3], x_val=x, y_val=y)
    np.savez(directory / "nan.npz", x_train=x * np.nan, y_train=y, x_val=x, y_val=y)
    np.savez(directory / "no_validation.npz", x_train=x, y_train=y)
    return directory


@pytest.mark.parametrize(("arguments", "told"), BAD, ids=[" ".join(arguments) for arguments, _ in BAD])
def test_bad_input_is_one_line_and_nothing_is_written(
    bad_inputs: Path,
    arguments: tuple[str, ...],
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(bad_inputs)
    before = sorted(bad_inputs.rglob("*"))
    try:
        status = main(arguments)
    except SystemExit as exit_:  # argparse's own
        status = int(str(exit_.code))
    out, err = capfd.readouterr()
    assert status == 2
    assert out == ""
    assert told in err
    assert err.count("\n") == 1, err
    assert [path for path in sorted(bad_inputs.rglob("*")) if "__pycache__" not in str(path)] == before
