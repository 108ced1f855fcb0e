"""A final training on another machine: what its node does, what its driver is told, and what the command takes."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from contracts import trial_of

from search_spaces import Data
from tuning.cli import main
from tuning.commands.training_elsewhere import FailedTraining, FinalJob, Trained, train, train_elsewhere
from tuning.loops.final_fit import load_fitted
from tuning.run.executor import DeviceError, WorkerSetup
from tuning.run.ray_actor import versions
from tuning.run.ray_cluster import ActorEndedError, Demand
from tuning.run.ray_node import Parts
from tuning.run.wire import pickle_setup


def build() -> Any:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.01), "mse")
    return model


def broken() -> Any:
    raise RuntimeError("no model\ntoday")


def data() -> Data:
    x = np.random.default_rng(0).normal(size=(96, 4)).astype("float32")
    return Data(x[:64], x[:64, :1], x[64:], x[64:, :1])


def setup(model: Any = build) -> WorkerSetup:
    return WorkerSetup(model, data())


def job(model: Any = build) -> FinalJob:
    return FinalJob(pickle_setup(setup(model)), trial_of("f", 8, epochs=2), cpus=1, gpus=0)


@pytest.fixture(autouse=True)
def same_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))  # a node's process is for the training alone


def test_a_node_tells_its_lines_and_returns_the_model(tmp_path: Path) -> None:
    *lines, trained = train(job(), Parts(data().parts()))
    assert [line for line in lines if str(line).startswith("Epoch")] == ["Epoch 1/2", "Epoch 2/2"]
    assert isinstance(trained, Trained)
    (tmp_path / "model.keras").write_bytes(trained.content)
    model, parts = keras.saving.load_model(tmp_path / "model.keras"), data()
    loss = model.evaluate(parts.x_val, parts.y_val, verbose=0)
    assert loss == pytest.approx(trained.fitted.metrics["val_loss"], rel=1e-5)


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # keras 3.15 saves so
def test_a_model_that_knows_no_shapes_takes_over_what_was_trained_with_its_optimizer(tmp_path: Path) -> None:
    def shapeless() -> Any:
        model = keras.Sequential([keras.layers.Dense(1)])
        model.compile("adam", "mse")
        return model

    trained = shapeless()
    trained.fit(data().x_train, data().y_train, verbose=0)
    trained.save(tmp_path / "model.keras")
    model = shapeless()
    load_fitted(tmp_path / "model.keras", model, data())
    assert int(model.optimizer.iterations) == 2
    for mine, theirs in zip(model.optimizer.variables, trained.optimizer.variables, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    np.testing.assert_array_equal(model.get_weights()[0], trained.get_weights()[0])


def test_a_model_that_cannot_be_built_is_told_in_one_line() -> None:
    (failed,) = train(job(broken), Parts(data().parts()))
    assert isinstance(failed, FailedTraining)
    assert failed.reason.endswith("it raised RuntimeError: no model today.")


class OneNode:
    """A cluster whose one node does what it is given in this process, and may be another one's."""

    def __init__(self, node: dict[str, str], *, dies: bool = False) -> None:
        self._node, self._dies = node, dies
        self.killed: list[str] = []
        self.is_closed = False

    def put(self, content: Any) -> Any:
        return content

    def places(self, _: Demand) -> int:
        return 0

    def start_work(self, _: Demand, work: bytes, references: list[Any]) -> tuple[str, Any]:
        def told() -> Any:
            yield self._node
            if self._dies:
                raise ActorEndedError("Its node went away.")
            function, argument = pickle.loads(work)
            yield from function(argument, references[0])

        return "actor", told()

    def next_of(self, stream: Any) -> Any:
        return next(stream)

    def kill(self, actor: str) -> None:
        self.killed.append(actor)

    def close(self) -> None:
        self.is_closed = True


def trained_on(cluster: Any, model: Any = build) -> tuple[Trained, list[str]]:
    told: list[str] = []
    return train_elsewhere(setup(model), trial_of("f", 8, epochs=2), cluster, Demand(), told.append), told


def test_the_driver_is_told_and_leaves_nothing() -> None:
    cluster = OneNode(versions())
    trained, told = trained_on(cluster)
    assert len(trained.fitted.epochs) == 2
    assert told[0] == "No node of the Ray cluster has 1 CPU; the training waits for one."
    assert "Epoch 2/2" in told
    assert (cluster.killed, cluster.is_closed) == (["actor"], True)


@pytest.mark.parametrize(
    ("cluster", "model", "error", "told"),
    [
        (OneNode({**versions(), "keras": "2.0"}), build, DeviceError, r"keras 2\.0 \(here"),
        (OneNode(versions(), dies=True), build, DeviceError, "was lost .* Its node went away"),
        (OneNode(versions()), broken, ValueError, "on its node it ended so: .* no model today"),
    ],
)
def test_what_goes_wrong_is_told_in_one_line(cluster: OneNode, model: Any, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        trained_on(cluster, model)
    assert (cluster.killed, cluster.is_closed) == (["actor"], True)


def test_the_command_refuses_what_does_not_go_together(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "any", "--cpus-per-trial", "2"]) == 2
    assert "cpus_per_trial is about the engine ray; got 2" in capsys.readouterr().err
