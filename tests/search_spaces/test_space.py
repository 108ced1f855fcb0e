import keras_tuner
import pytest

from search_spaces import BatchSize, LearningRate, SearchSpace, Setting
from search_spaces.entry import entries_of
from search_spaces.space import hyperparameter_grid, resolve_learning_rate


def test_a_plain_grid_has_one_learning_rate_per_batch_size() -> None:
    space = SearchSpace(BatchSize.of(8, 32), LearningRate(), optimizer="Adam", model_rate=0.001)
    assert space.grid() == (Setting(8, 0.0005), Setting(32, 0.001))


def test_batch_sizes_vary_fastest() -> None:
    space = SearchSpace(BatchSize.of(8, 32), LearningRate.choices(0.1, 0.2), model_rate=0.001)
    assert [(point.learning_rate, point.batch_size) for point in space.grid()] == [
        (0.1, 8),
        (0.1, 32),
        (0.2, 8),
        (0.2, 32),
    ]


def test_conditional_hyperparameters_count_only_where_they_are_active() -> None:
    hp = keras_tuner.HyperParameters()
    hp.Choice("kind", ["mlp", "cnn"])
    with hp.conditional_scope("kind", ["cnn"]):
        hp.Int("filters", 8, 16, step=8)
    assert list(hyperparameter_grid(entries_of(hp.space))) == [
        {"kind": "mlp"},
        {"kind": "cnn", "filters": 8},
        {"kind": "cnn", "filters": 16},
    ]


def test_a_logarithmic_int_yields_ints_in_order() -> None:
    hp = keras_tuner.HyperParameters()
    hp.Int("units", 16, 128, step=2, sampling="log")
    (units,) = entries_of(hp.space)
    assert units.values == (16, 32, 64, 128)
    assert all(type(value) is int for value in units.values)


def test_reserved_names_are_left_to_their_dimensions() -> None:
    hp = keras_tuner.HyperParameters()
    hp.Choice("lr", [0.1, 0.2])
    hp.Choice("batch_size", [1, 2])
    assert list(hyperparameter_grid(entries_of(hp.space))) == [{}]


def test_a_schedule_is_left_alone_and_searching_it_is_refused() -> None:
    assert resolve_learning_rate(None, model_rate=None, declared=None) is None
    with pytest.raises(ValueError, match="learning-rate schedule"):
        resolve_learning_rate(LearningRate.choices(0.1), model_rate=None, declared=None)


def test_rates_that_the_build_function_declares_are_searched() -> None:
    hp = keras_tuner.HyperParameters()
    hp.Choice("learning_rate", [0.1, 0.2])
    resolved = resolve_learning_rate(None, model_rate=0.1, declared=entries_of(hp.space)[0])
    assert resolved == LearningRate.choices(0.1, 0.2)


def test_only_hyperparameters_of_the_model_with_several_values_are_varied() -> None:
    hp = keras_tuner.HyperParameters()
    hp.Choice("lr", [0.1, 0.2])
    hp.Fixed("depth", 2)
    hp.Int("units", 8, 16)
    assert SearchSpace(BatchSize.of(8), LearningRate(), model_rate=0.1, entries=entries_of(hp.space)).varied == (
        "units",
    )
