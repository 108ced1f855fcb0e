"""The estimate of what one example could need, against tensors counted by hand and against growing models."""

import keras
import numpy as np
import pytest

from tuning.loops.description import tensor_bytes_per_example

COUNT, FEATURES, STEPS = 13, 40, 20


def estimate(*layers, shape=(FEATURES,), **compiling):
    model = keras.Sequential([keras.Input(shape), *layers, keras.layers.Dense(1)])
    model.compile(loss="mse", **compiling)
    examples = (np.zeros((COUNT, *shape), "float32"), np.zeros((COUNT, 1), "float32"))
    model.train_on_batch(*examples)
    return tensor_bytes_per_example(model, examples)


def test_every_activation_and_its_gradient_is_counted():
    units = 1000
    found = estimate(keras.layers.Dense(units, activation="relu"))
    assert found >= 4 * (FEATURES + 2 * units)  # the layer's output and its gradient
    assert found <= 4 * (FEATURES + 12 * units)


def test_weights_are_not():
    narrow, wide = (estimate(keras.layers.Dense(10), shape=(features,)) for features in (100, 10_000))
    assert wide - narrow < 2 * 4 * (10_000 - 100)  # 40 bytes more for the input alone, not 400 for its weights


def test_attention_scores_are_counted():
    class Scores(keras.layers.Layer):
        def call(self, x):
            return keras.ops.sum(keras.ops.einsum("bi,bj->bij", x, x), axis=2)

    assert estimate(Scores()) > 4 * FEATURES**2


def test_a_loop_counts_every_step():
    units = 64
    assert estimate(keras.layers.LSTM(units), shape=(STEPS, 8)) > 4 * STEPS * 4 * units


def test_what_cannot_be_traced_is_not_estimated():
    assert estimate(keras.layers.Dense(3), run_eagerly=True) is None


class Unknown(keras.layers.Layer):
    """Its output's length depends on the values."""

    def call(self, x):
        import tensorflow as tf

        kept = tf.boolean_mask(x, x[:, 0] >= 0)
        return x + tf.reduce_sum(kept)


def test_a_shape_that_only_running_tells_is_not_estimated():
    assert estimate(Unknown()) is None


@pytest.mark.parametrize("sizes", [(16, 32), (64, 128)])
def test_larger_layers_need_more(sizes):
    small, large = (estimate(keras.layers.Dense(units)) for units in sizes)
    assert small < large
