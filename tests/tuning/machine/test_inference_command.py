"""`batch-size probe --inference` as people run it, with a real worker."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest

from tuning.cli import main

TWO_INPUTS = """
import keras
import numpy as np
from search_spaces import Data, Workload

def build():
    left, right = keras.Input((4,), name="left"), keras.Input((6,), dtype="int32", name="right")
    words = keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(10, 3)(right))
    scores = keras.layers.Dense(2)(keras.layers.Concatenate()([left, words]))
    model = keras.Model({"left": left, "right": right}, scores)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model

def data():
    random = np.random.default_rng(0)
    def part(count):
        return {"left": random.normal(size=(count, 4)), "right": random.integers(0, 10, (count, 6))}
    return Data(part(30), np.arange(30) % 2, part(10), np.arange(10) % 2)

mine = Workload("mine", build=build, data=data)
"""


def test_inference_of_a_model_with_two_inputs_is_probed_and_recorded(
    tmp_path: Path, mlflow_store: Callable[[Path], str]
) -> None:
    uri = mlflow_store(tmp_path)
    (tmp_path / "mine.py").write_text(TWO_INPUTS)
    command = [sys.executable, "-m", "tuning.cli", "probe", "mine.py:mine", "--inference", "--latency", "9s", "--json"]
    done = subprocess.run(
        [*command, "--plot", "mine.png"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=500
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == [f"probing inference at batch size {2**power}" for power in range(6)]
    told = json.loads(done.stdout)["inference"]
    assert [point["batch_size"] for point in told["points"]] == [1, 2, 4, 8, 16, 32]  # of 40 examples
    assert (told["batch_size"], told["latency_bound_s"], told["ended_by"]) == (32, 9.0, "data")
    for point in told["points"]:
        assert point["calls"] >= 50
        assert 0 < point["latency_p50_s"] <= point["latency_p95_s"]
        assert point["peak_memory_bytes"] > 2**20
    assert (tmp_path / "mine.png").read_bytes().startswith(b"\x89PNG")
    client = mlflow.MlflowClient(uri)
    (run,) = client.search_runs([client.get_experiment_by_name("mine-probe").experiment_id])
    assert (run.info.run_name, run.data.tags["batch_size.stage"]) == ("inference", "measurement")
    assert run.data.metrics["inference_batch_size"] == 32
    assert len(client.get_metric_history(run.info.run_id, "latency_p95_seconds")) == 6
    assert {file.path for file in client.list_artifacts(run.info.run_id)} == {"inference.json", "inference.png"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--inference", "--latency", "soon"), "a time above 0 and at most 10s, such as 20ms, 0.5s"),
        (("--latency", "20ms"), "--latency bounds inference; got '20ms' without --inference. Add that."),
        (("--inference", "--loop", "xla"), "--loop is about training, and --inference measures none; got 'xla'"),
        (("--inference", "--epochs", "3"), "--epochs is about training, and --inference measures none; got 3"),
        (("--inference", "--plot", "probe.pdf"), "--plot must name a .png or .svg file; got 'probe.pdf'"),
    ],
)
def test_bad_input_is_one_line(arguments: tuple[str, ...], told: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["probe", "digits", *arguments]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert told in err
    assert err.count("\n") == 1
