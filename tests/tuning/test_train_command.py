"""`batch-size train`: the model in the file is the recommended setting's, and has the score that is told."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import mlflow
import numpy as np
import pytest
import tensorflow as tf
from fakes_executor import in_this_process

from search_spaces import Data
from tuning.cli import main
from tuning.finished import load_study
from tuning.loops.final_fit import FinalFit, Fitted, some_predictions

WORKLOAD = """
import keras
import numpy as np
from search_spaces import BatchSize, Data, Stream, Workload

def build(hp):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    schedule = keras.optimizers.schedules.CosineDecay(0.032, 64)
    model.compile(keras.optimizers.AdamW(schedule, weight_decay=0.08), "mse")
    return model

def data():
    x = np.random.default_rng(0).normal(size=(128, 4)).astype("float32")
    y = x.sum(axis=1, keepdims=True)
    return Data(x[:96], y[:96], x[96:], y[96:])

class Stops(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            raise KeyboardInterrupt

stops = [Stops()]
mine = Workload("mine", build, data, objective="val_loss", epochs=2)
"""


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory, mlflow_store: Callable[[Path], str], no_advice: None) -> Path:
    """A directory with a study of the workload, as the command line leaves it."""
    directory = tmp_path_factory.mktemp("searched")
    mlflow_store(directory)
    (directory / "mine.py").write_text(WORKLOAD)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setattr("tuning.search.workers.LocalExecutor", in_this_process)
        options = ["--batch-sizes", "8", "--seeds", "2", "--loop", "keras", "--no-probe", "--quiet"]
        assert main(["grid", "mine.py:mine", *options]) == 0
    return directory


@pytest.fixture
def workplace(searched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    shutil.copytree(searched, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def trained(capsys: pytest.CaptureFixture[str], *options: str) -> Any:
    capsys.readouterr()
    assert main(["train", "mine-grid", "--json", "--quiet", *options]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_model_in_the_file_has_the_told_score_and_the_studys_setting(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = trained(capsys)
    assert (told["batch_size"], told["epochs"], told["seed"], told["study_seeds"]) == (8, 2, 2, 2)
    model = keras.models.load_model("model.keras")
    data = load_study("mine-grid", "batch_size_studies").settings["data"]
    x = np.random.default_rng(0).normal(size=(128, 4)).astype("float32")[96:]
    score = model.evaluate(x, x.sum(axis=1, keepdims=True), verbose=0)
    assert told["score"] == pytest.approx(score, rel=1e-5)
    assert data.startswith("96 + 32 examples")
    schedule = model.optimizer.get_config()["learning_rate"]["config"]
    # the sqrt rule halves the rate at 8, the schedule counts 4 times the updates, decay times rate per epoch is held
    assert schedule["initial_learning_rate"] == pytest.approx(0.016)
    assert schedule["decay_steps"] == 256
    assert model.optimizer.weight_decay == pytest.approx(0.08 / 4 * 2)
    assert int(model.optimizer.iterations) == 2 * 96 // 8
    assert not list(workplace.glob("*partial*"))


def test_cards_share_the_training_where_that_is_asked_for(
    workplace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone, shared, own = trained(capsys), list[Any](), FinalFit.run

    def run(training: FinalFit, model: keras.Model, *rest: Any, **more: Any) -> Fitted:
        shared.append(model.distribute_strategy)
        return own(training, model, *rest, **more)

    monkeypatch.setattr(FinalFit, "run", run)
    assert main(["train", "mine-grid", "--gpus-per-trial", "2"]) == 2
    assert "must not exceed the devices that TensorFlow has here, 1; got 2" in capsys.readouterr().err
    cards, strategy = [SimpleNamespace(name="CPU:0")] * 3, tf.distribute.OneDeviceStrategy("CPU:0")
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: cards if kind == "CPU" else [])
    monkeypatch.setattr(tf.distribute, "MirroredStrategy", lambda _: strategy)
    told = trained(capsys, "--gpus-per-trial", "2")
    assert shared == [strategy]
    assert told["score"] == pytest.approx(alone["score"], rel=1e-5)
    assert "MirroredStrategy().scope():  # of 2 cards" in told["script"]
    assert main(["train", "mine-grid", "--gpus-per-trial", "3"]) == 2
    assert "must be a multiple of the 3 cards that share it; got 8" in capsys.readouterr().err


def test_mlflow_has_the_model_with_its_signature_its_curve_and_a_version_in_the_registry(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = trained(capsys, "--register", "mine")
    told = trained(capsys, "--register", "mine")
    assert (first["registered_version"], told["registered_version"]) == ("1", "2")
    client = mlflow.MlflowClient("sqlite:///mlflow.db")
    run = client.get_run(told["mlflow_run_id"])
    assert run.info.status == "FINISHED"
    assert run.data.params["batch_size"] == "8"
    curve = client.get_metric_history(run.info.run_id, "val_loss")
    assert [point.step for point in curve] == [96, 192]
    assert curve[-1].value == pytest.approx(told["score"])
    assert [run.data.metrics[f"final/expected_{end}"] for end in ("from", "to")] == pytest.approx(told["interval"])
    assert run.inputs.dataset_inputs[0].dataset.name == "mine-grid"
    assert os.environ.get("MLFLOW_TRACKING_URI") is None  # nothing was left there
    (version,) = client.search_model_versions("name='mine' and version_number=2")
    assert version.run_id == run.info.run_id
    mlflow.set_tracking_uri("sqlite:///mlflow.db")
    try:
        found = mlflow.pyfunc.load_model(told["mlflow_model"])
    finally:
        mlflow.set_tracking_uri(None)
    (taken,) = found.metadata.signature.inputs.inputs
    (made,) = found.metadata.signature.outputs.inputs
    assert (taken.shape, made.shape) == ((-1, 4), (-1, 1))
    x = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    here = keras.models.load_model("model.keras").predict(x, verbose=0)
    np.testing.assert_allclose(found.predict(x), here, rtol=1e-6)


def test_a_final_training_is_no_trial(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pick", "mine-grid", "--json"]) == 0
    before = json.loads(capsys.readouterr().out)
    trained(capsys)
    assert main(["pick", "mine-grid", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == before


def test_without_the_study_in_mlflow_a_model_is_written_but_not_registered(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "mine-grid", "--register", "a/b"]) == 2
    assert "must not be empty nor contain / or :; got 'a/b'" in capsys.readouterr().err
    elsewhere = ["--tracking-uri", "sqlite:///nowhere.db"]
    assert main(["train", "mine-grid", "--register", "mine", *elsewhere]) == 2
    assert not (workplace / "model.keras").exists()
    assert main(["train", "mine-grid", "--epochs", "1", "--json", "--quiet", *elsewhere]) == 0
    printed = capsys.readouterr()
    assert "The model is in no MLflow: " in printed.err
    assert json.loads(printed.out)["mlflow_run_id"] is None
    assert (workplace / "model.keras").exists()


def test_several_inputs_and_outputs_have_names_in_the_signature() -> None:
    left, right = keras.Input((2,)), keras.Input((3,))
    model = keras.Model([left, right], [keras.layers.Dense(1)(left), keras.layers.Dense(4)(right)])
    x = (np.zeros((9, 2), "float32"), np.zeros((9, 3), "float32"))
    y = (np.zeros((9, 1), "float32"), np.zeros((9, 4), "float32"))
    inputs, outputs = some_predictions(model, Data(x, y, x, y))
    assert {name: array.shape for name, array in inputs.items()} == {"input_0": (8, 2), "input_1": (8, 3)}
    assert {name: array.shape for name, array in outputs.items()} == {"output_0": (8, 1), "output_1": (8, 4)}


def test_a_seed_gives_the_same_model_again_and_another_seed_another(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, again, other = (trained(capsys, "--seed", seed, "--epochs", "1") for seed in ("5", "5", "6"))
    assert first["score"] == again["score"] != other["score"]


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")  # keras 3.15.1
def test_the_script_gives_the_same_score(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = trained(capsys)
    spaces: dict[str, Any] = {}
    exec(WORKLOAD, spaces)
    data = spaces["data"]()
    names = {name: getattr(data, name) for name in ("x_train", "y_train", "x_val", "y_val")}
    (workplace / "model.keras").unlink()  # which the script writes, too
    exec(told["script"], {"build_model": spaces["build"], **names})
    model = keras.models.load_model("model.keras")
    assert model.evaluate(data.x_val, data.y_val, verbose=0) == pytest.approx(told["score"], rel=1e-6)
    assert model.optimizer.weight_decay == pytest.approx(0.04)


def test_interrupted_it_keeps_the_last_whole_epoch_and_leaves_the_file_alone(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workplace / "model.keras").write_text("an older one")
    assert main(["train", "mine-grid", "--epochs", "5", "--callbacks", "mine.py:stops", "--quiet"]) == 130
    assert "last whole epoch is in model.partial.keras" in capsys.readouterr().err
    assert (workplace / "model.keras").read_text() == "an older one"
    assert int(keras.models.load_model("model.partial.keras").optimizer.iterations) == 2 * 96 // 8


def test_other_data_are_refused(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x = np.zeros((16, 4), "float32")
    np.savez("other.npz", x_train=x, y_train=x[:, :1], x_val=x, y_val=x[:, :1])
    assert main(["train", "mine-grid", "--data", "other.npz"]) == 2
    told = capsys.readouterr().err
    assert "must be those of the study" in told
    assert "got 16 + 16 examples" in told
    assert not (workplace / "model.keras").exists()


def test_a_study_that_does_not_know_its_workload_is_told_it(
    workplace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuning.finished.FinishedStudy.source", {})
    assert main(["train", "mine-grid"]) == 2
    assert "Give --workload" in capsys.readouterr().err
    assert trained(capsys, "--workload", "mine.py:mine", "--epochs", "1")["epochs"] == 1


LOADED = """
import tensorflow as tf

def loaded():
    keys = np.arange(96)
    made = lambda row: (tf.random.stateless_normal((4,), [1, 0]) * tf.cast(row % 7, tf.float32), tf.ones(1))
    return Data(keys[:64], None, keys[64:], None, load=lambda row, seed: made(row + seed[0] % 3), load_val=made)

lazy = Workload("lazy", build, loaded, objective="val_loss", epochs=2)
"""


def test_examples_that_are_loaded_train_as_in_the_search(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (workplace / "lazy.py").write_text(WORKLOAD + LOADED)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tuning.search.workers.LocalExecutor", in_this_process)
        searching = ["grid", "lazy.py:lazy", "--batch-sizes", "10", "--seeds", "1", "--loop", "keras", "--no-probe"]
        patch.setattr("tuning.stats.input_bound.INPUT_SHARE", 0.0)  # whatever the clock says
        assert main([*searching, "--quiet"]) == 0
    assert "Batch size 10 waits for its input" in " ".join(capsys.readouterr().out.split())
    assert main(["train", "lazy-grid", "--seed", "0", "--json", "--quiet"]) == 0
    told = json.loads(capsys.readouterr().out)
    [trial] = load_study("lazy-grid", "batch_size_studies").trials
    assert told["score"] == trial.reports[-1].metrics["val_loss"]
    assert int(keras.models.load_model("model.keras").optimizer.iterations) == 2 * 64 // 10
    assert "train.batch(10, drop_remainder=True)" in told["script"]
