from __future__ import annotations

import keras_tuner
import numpy as np
import pytest

from search_spaces import BatchSize, LearningRate, SearchSpace
from search_spaces.entry import entries_of
from tuning.plans.experience import Coordinates
from tuning.study.encoding import Encoding


def coordinates(hp: keras_tuner.HyperParameters | None = None, rate: LearningRate | None = None) -> Coordinates:
    entries = () if hp is None else entries_of(hp.space)
    space = SearchSpace(BatchSize.of(8, 16, 128), rate or LearningRate(), model_rate=0.001, entries=entries)
    return Coordinates(Encoding(space, search_rates=True))


def every_kind() -> keras_tuner.HyperParameters:
    hp = keras_tuner.HyperParameters()
    hp.Fixed("constant", 3)
    hp.Boolean("flag")
    hp.Choice("kind", ["mlp", "cnn", "none"])
    hp.Choice("rate", [0.3, 0.1, 0.2])
    hp.Int("stepped", 10, 30, step=10)
    hp.Int("logarithmic", 1, 100, sampling="log")
    hp.Float("linear", -1.0, 1.0)
    hp.Float("decay", 1e-6, 1e-2, sampling="log")
    with hp.conditional_scope("kind", ["cnn"]):
        hp.Int("filters", 8, 32, step=8)
    return hp


def test_every_value_travels_there_and_back() -> None:
    found = coordinates(every_kind())
    points = found.space.random(200, np.random.default_rng(0))
    for point in points:
        params = found.params(point)
        again = found.point(params)
        assert found.params(again) == params  # to the last digit: a repeat must be known as one
        assert np.isclose(again, found.point(found.params(again)), equal_nan=True).all()
        assert ("filters" in params) == (params["kind"] == "cnn")
        assert "constant" not in params


def test_batch_sizes_lie_at_their_logarithms() -> None:
    found = coordinates()
    points = np.array([[0.0, 0.5], [1.0, 0.5], [2.0, 0.5]])
    assert found.space.features(points)[:, 0] == pytest.approx([0.0, 0.25, 1.0])
    assert found.batch_sizes(points).tolist() == [8.0, 16.0, 128.0]


def test_rates_from_a_list_are_measured_from_the_ridge() -> None:
    found = coordinates(rate=LearningRate.choices(0.001, 0.004))
    ridge = found.space.features(np.array([[0.0, 0.0], [2.0, 1.0]]))  # 16 times the size, 4 times the rate
    assert ridge[0, 1] == pytest.approx(ridge[1, 1])


def test_numbers_have_an_order_and_words_have_none() -> None:
    found = coordinates(every_kind())
    by_name = dict(zip((d.name for d in encoding_of(every_kind()).dimensions()), found.space.axes, strict=True))
    assert by_name["rate"].is_ordered
    assert by_name["flag"].is_ordered
    assert not by_name["kind"].is_ordered


def test_memory_depends_on_the_model_and_seconds_on_the_rate_too() -> None:
    found = coordinates(every_kind())
    points = found.space.random(5, np.random.default_rng(1))
    width = found.space.features(points).shape[1]
    assert found.features_of_cost(points).shape[1] == width - 1
    assert found.features_of_model(points).shape[1] == width - 2


def test_a_condition_on_a_constant_is_settled_once() -> None:
    hp = keras_tuner.HyperParameters()
    hp.Fixed("kind", "mlp")
    for kind in ("mlp", "cnn"):
        with hp.conditional_scope("kind", [kind]):
            hp.Int(f"{kind}_units", 8, 32, step=8)
    found = coordinates(hp)
    assert set(found.params(found.space.random(1, np.random.default_rng(0))[0])) >= {"mlp_units"}
    assert len(found.space.axes) == 3


def encoding_of(hp: keras_tuner.HyperParameters) -> Encoding:
    return Encoding(
        SearchSpace(BatchSize.of(8), LearningRate(), model_rate=0.1, entries=entries_of(hp.space)), search_rates=True
    )
