"""A search space as Optuna sees it, and settings there and back."""

from __future__ import annotations

import keras_tuner
import optuna
import pytest

from search_spaces import BatchSize, LearningRate, SearchSpace, Setting
from search_spaces.entry import Entry, entries_of
from tuning.study.encoding import BATCH_SIZE_RANK, LEARNING_RATE_OFFSET, Encoding, distribution_of


def space(*sizes: int, rate: LearningRate | None = LearningRate(), entries: tuple[Entry, ...] = ()) -> SearchSpace:
    return SearchSpace(BatchSize.of(*sizes), rate, optimizer="Adam", model_rate=0.001, entries=entries)


def test_learning_rates_are_offsets_from_the_rule() -> None:
    encoding = Encoding(space(8, 32), search_rates=True)
    setting = encoding.decode({BATCH_SIZE_RANK: 1, LEARNING_RATE_OFFSET: -1.0})
    assert setting == Setting(32, pytest.approx(1e-4))
    params, distributions = encoding.encode(setting)
    assert params == {BATCH_SIZE_RANK: 1, LEARNING_RATE_OFFSET: pytest.approx(-1.0)}
    assert distributions.keys() == params.keys()


def test_conditional_hyperparameters_travel_there_and_back() -> None:
    hp = keras_tuner.HyperParameters()
    hp.Choice("kind", ["mlp", "cnn"])
    with hp.conditional_scope("kind", ["cnn"]):
        hp.Int("filters", 8, 32, step=8)
    hp.Fixed("constant", 3)
    encoding = Encoding(space(8, entries=entries_of(hp.space)), search_rates=False)
    assert encoding.conditional({BATCH_SIZE_RANK: 0, "kind": "mlp"}) == {}
    params = {BATCH_SIZE_RANK: 0, "kind": "cnn"}
    assert list(encoding.conditional(params)) == ["filters"]
    setting = encoding.decode({**params, "filters": 16})
    assert dict(setting.hyperparameters) == {"kind": "cnn", "filters": 16, "constant": 3}
    assert encoding.encode(setting)[0] == {**params, "filters": 16}


def test_every_kind_of_hyperparameter_has_its_distribution() -> None:
    hp = keras_tuner.HyperParameters()
    hp.Int("stepped", 10, 25, step=10)
    hp.Int("logarithmic", 1, 100, sampling="log")
    hp.Int("powers", 4, 32, step=2, sampling="log")
    hp.Float("linear", 0.0, 1.0)
    hp.Float("rate", 1e-4, 1e-1, sampling="log")
    hp.Boolean("flag")
    hp.Fixed("one", 1)
    found = [distribution_of(entry) for entry in entries_of(hp.space)]
    assert found == [
        optuna.distributions.IntDistribution(10, 20, step=10),
        optuna.distributions.IntDistribution(1, 100, log=True),
        optuna.distributions.CategoricalDistribution((4, 8, 16, 32)),
        optuna.distributions.FloatDistribution(0.0, 1.0),
        optuna.distributions.FloatDistribution(1e-4, 1e-1, log=True),
        optuna.distributions.CategoricalDistribution((True, False)),
        None,
    ]
