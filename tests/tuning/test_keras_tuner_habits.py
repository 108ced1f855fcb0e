"""What KerasTuner's users declare in a build function, searched end to end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras_tuner
import numpy as np
import optuna
import pytest
from fakes import RecordingTracker, ScriptedExecutor, description

import tuning
from search_spaces import BatchSize, Data
from search_spaces.entry import entries_of
from tuning.search.options import SearchArguments
from tuning.trial import Trial

pytestmark = pytest.mark.usefixtures("no_advice")


def declare(hp: Any) -> None:
    """One of every kind of hyperparameter."""
    hp.Choice("kind", ["narrow", "wide"])
    with hp.conditional_scope("kind", ["wide"]):
        hp.Int("width", 4, 16, step=4)
        hp.Choice("inner", ["relu", "tanh"])
    hp.Boolean("norm")
    hp.Float("dropout", 0.0, 0.5, step=0.25)
    hp.Int("units", 1, 64, sampling="log")
    hp.Int("powers", 4, 32, step=2, sampling="log")
    hp.Fixed("momentum", 0.5)
    hp.Float("learning_rate", 1e-4, 1e-1, sampling="log")


def build(hp: Any) -> Any:
    """A network of every kind of hyperparameter."""
    import keras

    declare(hp)
    values = hp.values
    layers: list[Any] = [keras.layers.Dense(values.get("width", 2), values.get("inner", "relu"))]
    if values["norm"]:
        layers.append(keras.layers.LayerNormalization())
    layers += [keras.layers.Dropout(values["dropout"]), keras.layers.Dense(values["units"]), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((2,)), *layers])
    model.compile(keras.optimizers.SGD(values["learning_rate"], momentum=values["momentum"]), "mse")
    return model


def data() -> Data:
    x = np.random.default_rng(0).normal(size=(64, 2)).astype("float32")
    return Data(x, x.sum(axis=1), x, x.sum(axis=1))


def accuracy(request: Trial) -> list[float]:
    values = dict(request.hyperparameters)
    return [0.5 + 0.1 * (values["kind"] == "wide") + 0.1 * bool(values["norm"]) + 0.001 * request.batch_size]


def search(directory: Path, **options: Any) -> tuple[tuning.BayesianOptimization, ScriptedExecutor]:
    """A search whose trials score by `accuracy`, without training."""
    hp = keras_tuner.HyperParameters()
    declare(hp)
    executor = ScriptedExecutor(
        accuracy, described=description(entries=entries_of(hp.space), learning_rate_name="learning_rate")
    )
    given: dict[str, Any] = {
        "batch_size": BatchSize(8, 32),
        "max_trials": 14,
        "seeds": 1,
        "probe": False,
        "directory": directory,
        "tracker": RecordingTracker(),
    }
    tuner = tuning.BayesianOptimization(build, **{**given, **options})
    tuner.run(SearchArguments(data(), epochs=1, verbose=False), executor)
    return tuner, executor


def check(values: dict[str, Any]) -> None:
    """Every value is one that was declared, of the type that the build function expects."""
    assert values["momentum"] == 0.5
    assert values["dropout"] in (0.0, 0.25, 0.5)
    assert type(values["units"]) is int
    assert 1 <= values["units"] <= 64
    assert type(values["powers"]) is int
    assert values["powers"] in (4, 8, 16, 32)
    assert type(values["norm"]) is bool
    assert ("width" in values) == ("inner" in values) == (values["kind"] == "wide")
    assert values.get("width", 4) in (4, 8, 12, 16)


@pytest.mark.parametrize("sampler", ["gp", "tpe", "random", optuna.samplers.NSGAIISampler(seed=0)], ids=str)
def test_every_kind_of_hyperparameter_is_searched(sampler: Any, tmp_path: Path) -> None:
    tuner, executor = search(tmp_path, sampler=sampler)
    settings = [dict(request.hyperparameters) for request in executor.requests]
    for values in settings:
        check(values)
    for name in ("kind", "norm", "dropout", "units", "powers"):
        assert len({values[name] for values in settings}) > 1, name
    assert len({request.learning_rate for request in executor.requests}) > 1
    assert len(tuner.oracle.records) == 14


def test_the_best_hyperparameters_are_those_of_the_best_trial(tmp_path: Path) -> None:
    tuner, _ = search(tmp_path)
    best = max(tuner.oracle.records, key=lambda record: record.score or 0.0)
    found = tuner.get_best_hyperparameters()[0]
    assert tuner.oracle.get_best_trials()[0].score == best.score
    assert found.get("kind") == "wide"
    assert found.get("norm") is True


def test_what_is_proposed_can_be_trained(tmp_path: Path) -> None:
    tuner = tuning.BayesianOptimization(
        build,
        batch_size=BatchSize.of(32),
        max_trials=3,
        seeds=1,
        directory=tmp_path,
        tracker=RecordingTracker(),
        in_process=True,
    )
    tuner.search(data(), epochs=1, verbose=0)
    assert [record.score is not None for record in tuner.oracle.records] == [True] * 3


def test_an_unknown_sampler_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one of gp, tpe, random, or an Optuna sampler; got 'gaussian'"):
        tuning.BayesianOptimization(build, sampler="gaussian", directory=tmp_path)
    with pytest.raises(TypeError, match="BaseSampler; got 7"):
        tuning.BayesianOptimization(build, sampler=7, directory=tmp_path)


def test_a_batch_size_to_start_with_is_refused_where_it_cannot_be_tried(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="start_batch_size must be at least 1; got 0"):
        tuning.BayesianOptimization(build, start_batch_size=0, directory=tmp_path)
    with pytest.raises(ValueError, match="start_batch_size is for the sampler 'gp'; got 'tpe'"):
        tuning.BayesianOptimization(build, sampler="tpe", start_batch_size=32, directory=tmp_path)


def test_the_best_settings_are_those_that_were_confirmed_on_fresh_seeds(tmp_path: Path) -> None:
    tuner, _ = search(tmp_path, seeds=2, max_trials=8)
    records = tuner.oracle.records
    confirmed = {record.setting for record in records if record.stage == "confirm"}
    assert 0 < len(confirmed) < len({record.setting for record in records})
    found = {hp.values["batch_size"] for hp in tuner.get_best_hyperparameters(99)}
    assert found == {setting.batch_size for setting in confirmed}
    assert len(tuner.get_best_hyperparameters(99)) == len(confirmed)
