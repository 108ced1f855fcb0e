"""The gradient noise scale: closed forms, coverage, and models left as they were."""

from __future__ import annotations

import itertools

import keras
import numpy as np
import pytest
from training_helpers import CLASSES, FEATURES, dense_model, make_data

from tuning.loops.model_builder import ModelError
from tuning.loops.noise_scale import FrozenGradients, GradientStatistics, grouping, noise_scale


def statistics_of(gradients, *, micro_batch_size, groups, n_train):
    """What `FrozenGradients` would keep of these micro-batch gradients, `(M, d)`."""
    grouped = np.asarray(gradients, dtype=float).reshape(groups, -1, np.shape(gradients)[-1])
    sums = grouped.sum(axis=1)
    return GradientStatistics(micro_batch_size, grouped.shape[1], n_train, (grouped**2).sum(axis=(1, 2)), sums @ sums.T)


def test_the_estimates_are_unbiased_over_every_sample_of_a_small_training_set():
    values = [1.0, 2.0, 3.0, 6.0]
    found = [
        statistics_of(np.array(pair)[:, None], micro_batch_size=1, groups=2, n_train=4).estimate()
        for pair in itertools.combinations(values, 2)
    ]
    assert np.mean(found, axis=0) == pytest.approx([14 / 3, 9.0])  # variance with divisor 3, squared mean
    against_the_population = [trace * 0 + squared - trace / 4 for trace, squared in found]
    assert np.mean(against_the_population) == pytest.approx(9 - 14 / 12)  # 7.83, without the term in 1/N


def test_with_every_example_the_gradient_is_exact():
    gradients = np.random.default_rng(0).normal(1.0, 2.0, size=(64, 5))
    trace, squared = statistics_of(gradients, micro_batch_size=1, groups=8, n_train=64).estimate()
    assert squared == pytest.approx(float(np.sum(gradients.mean(axis=0) ** 2)))
    assert trace == pytest.approx(float(np.sum(gradients.var(axis=0, ddof=1))))


def test_the_interval_covers_the_truth_nine_times_in_ten():
    random = np.random.default_rng(1)
    spread = np.sqrt(np.linspace(0.2, 2.0, 40))
    mean = np.full(40, 0.08)
    truth = float(np.sum(spread**2) / np.sum(mean**2))  # 172 examples

    def covers():
        gradients = mean + spread * random.normal(size=(128, 40)) / np.sqrt(32)
        found = noise_scale(statistics_of(gradients, micro_batch_size=32, groups=16, n_train=10**9))
        return found.low <= truth <= found.high

    share = np.mean([covers() for _ in range(300)])
    assert 0.84 <= share <= 0.96  # 0.90 give or take three standard errors of 0.017, and the jackknife's own bias


@pytest.mark.parametrize("examples", [512, 384])
def test_the_interval_covers_as_often_as_stated_where_nearly_all_examples_are_drawn(examples):
    random = np.random.default_rng(4)
    gradients = 0.15 + random.normal(size=(512, 30)) * np.sqrt(np.linspace(0.2, 2.0, 30))
    truth = float(np.sum(gradients.var(axis=0, ddof=1)) / np.sum(gradients.mean(axis=0) ** 2))

    def covers():
        drawn = gradients[random.permutation(512)[:examples]].reshape(-1, 8, 30).mean(axis=1)
        found = noise_scale(statistics_of(drawn, micro_batch_size=8, groups=16, n_train=512))
        return found.low <= truth <= found.high

    share = np.mean([covers() for _ in range(300)])
    assert 0.84 <= share <= 0.965


def test_a_gradient_that_is_not_told_from_zero_is_refused_with_a_bound():
    random = np.random.default_rng(2)
    gradients = random.normal(size=(128, 40)) / np.sqrt(32)
    found = noise_scale(statistics_of(gradients, micro_batch_size=32, groups=16, n_train=10**9))
    assert found.value is None
    assert found.high is None
    assert found.low > 4096 / 20  # the noise scale is infinite; 4096 examples cannot bound it far below their number


def test_without_noise_nothing_is_claimed():
    found = noise_scale(statistics_of(np.ones((16, 3)), micro_batch_size=4, groups=8, n_train=100))
    assert (found.value, found.low, found.high) == (None, None, None)


@pytest.mark.parametrize(
    ("n_examples", "asked", "expected"),
    [(4096, 32, (32, 16, 8)), (1437, 32, (32, 11, 4)), (60, 32, (7, 8, 1)), (8, 32, (1, 8, 1)), (100, 1, (1, 14, 7))],
)
def test_groups_use_as_many_examples_as_they_can(n_examples, asked, expected):
    size, groups, per_group = grouping(n_examples, asked)
    assert size * groups * per_group <= n_examples
    assert 8 <= groups <= 16
    if expected[2] > 1 or n_examples <= 60:
        assert (size, groups, per_group)[:1] == expected[:1]


def test_fewer_than_eight_examples_are_refused():
    with pytest.raises(ValueError, match="8 examples or more; got 7"):
        grouping(7, 1)


def regression():
    model = keras.Sequential([keras.Input((FEATURES,)), keras.layers.Dense(1, use_bias=False)])
    model.compile("sgd", "mse")
    return model


@pytest.mark.parametrize("weighted", [False, True])
def test_a_linear_model_has_the_gradients_of_the_formula(weighted):
    random = np.random.default_rng(3)
    x, y = random.normal(size=(48, FEATURES)).astype("float32"), random.normal(size=(48, 1)).astype("float32")
    weight = random.uniform(0.5, 2.0, size=48).astype("float32")
    model = regression()
    kernel = model.layers[-1].kernel.value.numpy().astype(float)
    gradients = 2 * (x @ kernel - y) * x * (weight[:, None] if weighted else 1.0)
    train = (x, y, weight) if weighted else (x, y)
    found = FrozenGradients(model, train, micro_batch_size=1).measure()
    assert found.squared_gradient_norm == pytest.approx(float(np.sum(gradients.mean(axis=0) ** 2)), rel=1e-4)
    assert found.trace_of_covariance == pytest.approx(float(np.sum(gradients.var(axis=0, ddof=1))), rel=1e-4)


def test_embeddings_and_regularisers_have_gradients_too():
    model = keras.Sequential(
        [
            keras.Input((4,), dtype="int32"),
            keras.layers.Embedding(10, 3),
            keras.layers.Flatten(),
            keras.layers.Dense(1, kernel_regularizer=keras.regularizers.L2(0.5)),
        ]
    )
    model.compile("sgd", "mse")
    random = np.random.default_rng(0)
    x, y = random.integers(0, 10, (64, 4)).astype("int32"), np.zeros((64, 1), "float32")
    plain = FrozenGradients(model, (x, y), micro_batch_size=4).measure()
    assert plain.trace_of_covariance > 0
    kernel = model.layers[-1].kernel
    kernel.assign(np.ones(kernel.shape))
    regularised = FrozenGradients(model, (x, y), micro_batch_size=4).measure()
    assert regularised.squared_gradient_norm > kernel.shape[0] * 0.5  # the regulariser alone gives |kernel|^2 = 12


def stateful_model():
    """Every kind of state: batch statistics, a seed, metrics, an optimizer with slots."""
    model = keras.Sequential(
        [
            keras.Input((FEATURES,)),
            keras.layers.Dense(8, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5, seed=4),
            keras.layers.Dense(CLASSES, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def state_of(model):
    variables = [*model.variables, *model.metrics_variables, *model.optimizer.variables]
    flags = [(variable.path, variable.trainable) for variable in model.variables]
    return flags, [variable.value.numpy() for variable in variables]


def test_a_measurement_leaves_every_variable_and_flag_as_it_was():
    data, model = make_data(), stateful_model()
    model.fit(*data.train, batch_size=10, verbose=0)
    flags, values = state_of(model)
    FrozenGradients(model, data.train, micro_batch_size=4).measure()
    flags_after, values_after = state_of(model)
    assert flags_after == flags
    for before, after in zip(values, values_after, strict=True):
        np.testing.assert_array_equal(before, after)


def test_training_goes_on_as_if_nothing_had_been_measured():
    data = make_data()

    def histories(measures):
        keras.utils.set_random_seed(0)
        model, told = stateful_model(), []
        for _ in range(3):
            if measures:
                FrozenGradients(model, data.train, micro_batch_size=4).measure()
            told.append(model.fit(*data.train, batch_size=10, verbose=0).history)
        return told

    assert histories(measures=True) == histories(measures=False)


def test_a_train_step_of_one_s_own_is_refused():
    class Own(keras.Model):
        def train_step(self, data):
            return {}

    inner = dense_model()
    model = Own(inner.inputs, inner.outputs)
    model.compile("sgd", "mse")
    with pytest.raises(ModelError, match=r"Keras's own train_step.*got Own\.train_step"):
        FrozenGradients(model, make_data().train)


def test_of_a_huge_set_no_order_of_all_examples_is_held():
    drawn, data = [], make_data()

    def batch_of(rows):
        drawn.extend(rows)
        return data.x_train[: len(rows)], data.y_train[: len(rows)]

    found = FrozenGradients(dense_model(), (), examples=64, micro_batch_size=4, batch_of=batch_of, n_train=2**40)
    assert found.statistics().n_train == 2**40
    assert len(set(drawn)) == len(drawn) == 64
    assert max(drawn) > 2**32
