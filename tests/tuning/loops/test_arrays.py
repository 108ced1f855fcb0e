"""The arrays that trials see: in Keras's float type and structure, with weights as Keras would apply them."""

import keras
import numpy as np
import pytest

from search_spaces.data import Data
from tuning.loops.arrays import DataPlacement, as_keras_sees_them
from tuning.loops.processor import Cpu


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


SIZE = 2 * (12 * 4 + 6 * 8)


@pytest.mark.parametrize(("free", "fits"), [(2 * SIZE, True), (2 * SIZE - 2, False)])
def test_data_are_placed_in_at_most_half_of_the_free_memory(monkeypatch, free, fits):
    monkeypatch.setattr(Cpu, "free_bytes", lambda _: free)
    placement = DataPlacement(as_keras_sees_them(some_data(), None))
    assert placement.free_bytes == free
    assert (placement.fits_on_device, placement.fits_on_host) == (fits, fits)


def test_data_that_fit_are_tensors_placed_once_and_the_pipelines_too():
    placement = DataPlacement(as_keras_sees_them(some_data(), None))
    assert placement.on_device is placement.on_device
    assert placement.for_pipeline is placement.on_device.train
    x, y = placement.on_device.validation
    assert (x.dtype.name, y.dtype.name, placement.on_device.n_val) == ("float32", "int64", 6)


def test_data_that_do_not_fit_stay_as_they_are(monkeypatch):
    monkeypatch.setattr(Cpu, "free_bytes", lambda _: 1)
    arrays = as_keras_sees_them(some_data(), None)
    assert DataPlacement(arrays).for_pipeline is arrays.train


@pytest.mark.parametrize("part", ["train", "validation"])
def test_text_anywhere_is_known(part):
    texts, numbers = np.array([["a"]] * 6, object), np.zeros((6, 1))
    x = (texts, numbers) if part == "train" else (numbers, texts)
    data = Data(x[0], np.zeros(6), x[1], np.zeros(6))
    assert DataPlacement(as_keras_sees_them(data, None)).has_text
    assert not DataPlacement(as_keras_sees_them(some_data(), None)).has_text
