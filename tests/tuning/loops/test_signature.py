"""The signature of a model: equal only where training compiles to the same program."""

import functools

import keras
import numpy as np
import pytest
from training_helpers import CLASSES, FEATURES, dense_model, make_data

from search_spaces.data import Data
from tuning.loops.arrays import as_keras_sees_them
from tuning.loops.signature import digest_of, model_signature, without_learning_rate


def signature(build=dense_model, hyperparameters=None, data=None, evaluation_batch_size=8):
    arrays = as_keras_sees_them(data or make_data(), None)
    keras.utils.clear_session()
    return model_signature(build(), hyperparameters or {}, arrays, evaluation_batch_size)


def other_data(**changes):
    data = make_data()
    parts = {"x_train": data.x_train, "y_train": data.y_train, "x_val": data.x_val, "y_val": data.y_val, **changes}
    return Data(*parts.values())


def test_seeds_weights_learning_rates_and_values_of_the_data_leave_it_the_same():
    expected = signature()
    keras.utils.set_random_seed(9)
    assert signature() == expected
    assert signature(lambda: dense_model(keras.optimizers.Adam(0.7))) == expected
    assert signature(data=make_data(seed=3)) == expected
    assert signature(hyperparameters={"learning_rate": 0.1, "lr": 0.2}) == expected
    assert len(expected) == 16


def wide():
    model = keras.Sequential([keras.Input((FEATURES,)), keras.layers.Dense(9, "relu")])
    model.add(keras.layers.Dense(CLASSES, activation="softmax"))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def frozen():
    model = dense_model()
    model.layers[0].trainable = False
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def scaled(factor):
    def loss(y, p):
        return factor * keras.ops.mean(keras.losses.sparse_categorical_crossentropy(y, p))

    return lambda: dense_model(loss=loss)


DIFFERENT = {
    "units": {"build": wide},
    "trainable": {"build": frozen},
    "optimizer": {"build": lambda: dense_model("nadam")},
    "constant of the optimizer": {"build": lambda: dense_model(keras.optimizers.Adam(beta_2=0.9))},
    "metrics": {"build": lambda: dense_model(metrics=[])},
    "jit_compile": {"build": lambda: dense_model(jit_compile=True)},
    "hyperparameter": {"hyperparameters": {"units": 8}},
    "evaluation batch size": {"evaluation_batch_size": 9},
    "number of examples": {"data": other_data(x_train=make_data().x_train[:40], y_train=make_data().y_train[:40])},
    "type of the labels": {"data": other_data(y_train=make_data().y_train.astype("int32"))},
}


@pytest.mark.parametrize("changes", DIFFERENT.values(), ids=DIFFERENT)
def test_what_is_compiled_in_tells_models_apart(changes):
    assert signature(**changes) != signature()


def test_what_a_loss_closes_over_tells_models_apart():
    assert signature(scaled(2.0)) == signature(scaled(2.0)) != signature(scaled(3.0))


def test_a_schedule_is_compiled_in_and_a_number_is_not():
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)
    assert "learning_rate" not in without_learning_rate(keras.optimizers.SGD(0.1))
    assert "learning_rate" in without_learning_rate(keras.optimizers.SGD(schedule))
    wrapped = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1))
    assert "learning_rate" not in without_learning_rate(wrapped)["inner_optimizer"]


class Thing:
    def __init__(self, value):
        self.value = value

    def method(self):
        return self.value


def add(a, b):
    return a + b


PAIRS = {
    "types": (1, 1.0),
    "order": ([1, 2], [2, 1]),
    "keys": ({"a": 1}, {"b": 1}),
    "values": ({"a": 1}, {"a": 2}),
    "arrays": (np.zeros(3), np.ones(3)),
    "shapes": (np.zeros((2, 3)), np.zeros((3, 2))),
    "dtypes": (np.zeros(3, "float32"), np.zeros(3, "int32")),
    "object arrays": (np.array(["a"], object), np.array(["b"], object)),
    "attributes": (Thing(1), Thing(2)),
    "methods": (Thing(1).method, Thing(2).method),
    "partials": (functools.partial(add, 1), functools.partial(add, 2)),
    "constants of code": (lambda: 1, lambda: 2),
    "defaults": (lambda a=1: a, lambda a=2: a),
    "nested code": (lambda: lambda: 1, lambda: lambda: 2),
    "classes": (Thing, dict),
    "variables": (keras.Variable(np.zeros(3)), keras.Variable(np.zeros(4))),
    "nothing": (None, 0),
}


@pytest.mark.parametrize(("one", "other"), PAIRS.values(), ids=PAIRS)
def test_a_digest_tells_objects_apart(one, other):
    assert digest_of(one) != digest_of(other)
    assert digest_of(one) == digest_of(one)


def test_equal_objects_have_equal_digests():
    assert digest_of(Thing([1, {"a": 2}])) == digest_of(Thing([1, {"a": 2}]))
    assert digest_of({"b", "a", "c"}) == digest_of({"c", "b", "a"})
    assert digest_of(keras.Variable(np.zeros(3))) == digest_of(keras.Variable(np.ones(3)))


def test_objects_that_refer_to_themselves_have_a_digest():
    one, two = Thing(1), Thing(1)
    one.itself, two.itself = one, two
    assert digest_of(one) == digest_of(two)
