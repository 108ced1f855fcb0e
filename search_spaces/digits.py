"""Ready-made workloads on the digits that scikit-learn brings: a perceptron, and a small convolutional network."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from search_spaces.batch_size import BatchSize
from search_spaces.data import Data
from search_spaces.files import number_of_classes, read_classified_images
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


def build_cnn(image_shape: tuple[int, ...] = (8, 8, 1), classes: int = 10) -> Any:
    """Two 3x3 convolutions with pooling and a softmax, on values in 0..1; Adam at 1e-3."""
    import keras

    model = keras.Sequential(
        [
            keras.Input(image_shape),
            keras.layers.Conv2D(16, 3, padding="same", activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(32, 3, padding="same", activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dense(classes, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def load_images() -> Data:
    """The split of `digits`, as images of shape `(n, 8, 8, 1) float32` in 0..1."""
    data = load_digits()
    return replace(data, x_train=data.x_train.reshape(-1, 8, 8, 1), x_val=data.x_val.reshape(-1, 8, 8, 1))


def build_for(data: Data) -> Any:
    """The same network for images of another size, with other classes."""
    return partial(build_cnn, image_shape=data.x_train.shape[1:], classes=number_of_classes(data))


cnn_workload = Workload(
    name="digits-cnn",
    build=build_cnn,
    build_for=build_for,
    data=load_images,
    objective="val_accuracy",
    epochs=5,
    batch_size=BatchSize(8, 128),
    read_file=read_classified_images,
    description=Description(
        data="scikit-learn's digits: 1,437 + 360 images, or .npz",
        model="two convolutions",
        space="batch 8 to 128",
        minutes="1",
    ),
)
