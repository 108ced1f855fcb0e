"""The arrays that trials see: in Keras's float type and structure, with weights as Keras would apply them."""

import keras
import numpy as np
import pytest

from search_spaces.data import Data
from tuning.loops.arrays import as_keras_sees_them


def some_data(y=None, **weights):
    x = np.arange(12.0).reshape(6, 2)
    y = np.array([0, 1, 2, 0, 1, 2]) if y is None else y
    return Data(x, y, x, y, **weights)


def test_floats_take_keras_float_type_and_integers_stay():
    x, y = as_keras_sees_them(some_data(), None).training_examples(4)
    assert x.dtype == keras.config.floatx() == "float32"
    assert x.shape == (4, 2)
    assert y.dtype == np.int64


def test_bytes_are_those_on_the_device():
    assert as_keras_sees_them(some_data(), None).nbytes == 2 * (12 * 4 + 6 * 8)


def test_lists_become_tuples():
    x = [np.zeros((4, 1)), np.ones((4, 1))]
    arrays = as_keras_sees_them(Data(x, np.zeros(4), x, np.zeros(4)), None)
    assert isinstance(arrays.train[0], tuple)
    assert isinstance(arrays.validation_examples(2)[0], tuple)


def test_one_sample_weight_serves_every_output():
    y = (np.zeros(6), np.ones(6))
    weight = np.arange(6.0)
    arrays = as_keras_sees_them(some_data(y, sample_weight_train=weight), None)
    assert [part.tolist() for part in arrays.train[2]] == [weight.tolist()] * 2


@pytest.mark.parametrize(
    "y",
    [np.array([0, 1, 2, 0, 1, 2]), np.array([[0], [1], [2], [0], [1], [2]]), np.eye(3)[[0, 1, 2, 0, 1, 2]]],
    ids=["labels", "column", "one-hot"],
)
def test_class_weights_become_sample_weights_as_in_keras(y):
    weights = as_keras_sees_them(some_data(y), {0: 2.0, 2: 0.5}).train[2]
    np.testing.assert_allclose(weights, [2.0, 1.0, 0.5, 2.0, 1.0, 0.5])


def test_class_weights_exclude_sample_weights_and_several_outputs():
    with pytest.raises(ValueError, match="class_weight and sample weights exclude each other"):
        as_keras_sees_them(some_data(sample_weight_train=np.ones(6)), {0: 1.0})
    with pytest.raises(ValueError, match="class_weight needs a single output"):
        as_keras_sees_them(some_data((np.zeros(6), np.zeros(6))), {0: 1.0})
