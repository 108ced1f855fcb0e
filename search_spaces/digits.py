"""digits: a multilayer perceptron on scikit-learn's 1,797 handwritten digits. Embedded: nothing is downloaded."""

from __future__ import annotations

from typing import Any

import numpy as np

from search_spaces.data import Data
from search_spaces.workload import Description, Workload


def build_model() -> Any:
    """Dense(128, relu), Dense(10, softmax) on 8x8 grey values in 0..1; Adam at 1e-3."""
    import keras

    model = keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def load_digits() -> Data:
    """1,437 training and 360 validation images, `(n, 64) float32` in 0..1, split once and for all."""
    from sklearn.datasets import load_digits as sklearn_digits

    digits = sklearn_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    x = (digits.data[order] / 16).astype("float32")
    y = digits.target[order].astype("int32")
    n_val = 360
    return Data(x[n_val:], y[n_val:], x[:n_val], y[:n_val])


workload = Workload(
    name="digits",
    build=build_model,
    data=load_digits,
    objective="val_accuracy",
    epochs=5,
    description=Description(
        data="scikit-learn's digits: 1,437 + 360 images, or .npz",
        model="one hidden layer",
        space="batch 8 to 128",
        minutes="1",
    ),
)
