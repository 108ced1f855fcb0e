"""`batch-size probe` as people run it, with real workers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import mlflow
import numpy as np
import pytest

from tuning.cli import main

MEMORY = ("peak_memory_bytes", "predicted_peak_memory_bytes")


@pytest.mark.long  # the README's own commands probe them, too
def test_digits_are_probed_in_memory_speed_and_noise(tmp_path: Path, mlflow_store: Callable[[Path], str]) -> None:
    uri = mlflow_store(tmp_path)
    command = [sys.executable, "-m", "tuning.cli", "probe", "digits", "--json", "--quiet", "--plot", "probe.svg"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    told = json.loads(done.stdout)
    assert told["memory"]["largest_batch_size"] == 1437
    assert told["memory"]["limited_by"] == "data"
    assert 5 <= len(told["memory"]["probes"]) <= 7
    assert {row["series"] for row in told["throughput"]} == {"keras", "chosen"}
    assert len(told["noise_scale"]["points"]) == 4
    assert 10 < told["noise_scale"]["points"][0]["value"] < 1000
    assert told["suggested_batch_sizes"]
    assert (tmp_path / "probe.svg").read_text().startswith("<?xml")
    client = mlflow.MlflowClient(uri)
    (run,) = client.search_runs([client.get_experiment_by_name("digits-probe").experiment_id])
    assert run.data.tags["batch_size.stage"] == "measurement"
    assert run.data.metrics["largest_batch_size"] == 1437
    assert len(client.get_metric_history(run.info.run_id, "noise_scale")) >= 1
    assert {file.path for file in client.list_artifacts(run.info.run_id)} == {"probe.json", "probe.svg"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--memory-limit", "much"), "number with a unit, such as 3GiB or 500MB; got 'much'"),
        (("--plot", "probe.pdf"), "--plot must name a .png or .svg file; got 'probe.pdf'"),
        (("--tracking-uri", "files"), "The tracking URI must name a database or a server; got 'files'"),
    ],
)
def test_bad_input_is_one_line(arguments: tuple[str, ...], told: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["probe", "digits", *arguments]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert told in err
    assert err.count("\n") == 1


WIDE = """
import keras
def build():
    layers = [keras.Input((2,)), keras.layers.Dense(200_000, activation="relu"), keras.layers.Dense(10)]
    model = keras.Sequential(layers)
    model.compile(keras.optimizers.SGD(1e-9), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model
"""


def test_a_search_does_not_run_what_cannot_fit(tmp_path: Path, mlflow_store: Callable[[Path], str]) -> None:
    mlflow_store(tmp_path)
    (tmp_path / "wide.py").write_text(WIDE)
    random = np.random.default_rng(0)
    x, y = random.normal(size=(1024, 2)).astype("float32"), random.integers(0, 10, 1024)
    np.savez(tmp_path / "data.npz", x_train=x, y_train=y, x_val=x[:32], y_val=y[:32])
    command = [sys.executable, "-m", "tuning.cli", "grid", "wide.py:build", "--data", "data.npz"]
    command += ["--batch-sizes", "16,128,1024", "--seeds", "2", "--epochs", "1", "--memory-limit", "2GiB", "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["trials"]["out_of_memory"] == 2
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("build-grid").experiment_id])
    by_stage = {run.data.tags.get("batch_size.stage"): run for run in runs}
    assert by_stage["measurement"].data.metrics["largest_batch_size"] < 1024
    for run in runs:
        if run.data.params.get("batch_size") == "1024":
            assert run.data.tags["batch_size.status"] == "out_of_memory"
            assert run.data.tags["batch_size.reason"].startswith("Not run: batch size 1024 is above")
        elif run.data.tags["batch_size.stage"] == "search":
            measured, predicted = (run.data.metrics[name] for name in MEMORY)
            assert predicted == pytest.approx(measured, rel=0.25)
