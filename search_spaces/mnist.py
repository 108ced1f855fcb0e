"""mnist: the classic first Keras model on MNIST, from `keras.datasets` or an `.npz` file."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from search_spaces.data import Data
from search_spaces.workload import Workload


def build_model() -> Any:
    """Flatten, Dense(128, relu), Dense(10, softmax) on 28x28 grey values in 0..1; Adam at 1e-3."""
    import keras

    model = keras.Sequential(
        [
            keras.Input((28, 28)),
            keras.layers.Flatten(),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def load_mnist() -> Data:
    """60,000 training and 10,000 validation images, `(n, 28, 28) float32` in 0..1; Keras downloads them once."""
    import keras

    (x_train, y_train), (x_val, y_val) = keras.datasets.mnist.load_data()
    return _scaled(Data(x_train, y_train, x_val, y_val))


def read_mnist_file(path: str) -> Data:
    """Images from an `.npz` archive; whole numbers are taken to be grey values in 0..255."""
    return _scaled(Data.from_npz(path))


def _scaled(data: Data) -> Data:
    if data.x_train.dtype.kind not in "iu":
        return data
    return replace(data, x_train=(data.x_train / 255).astype("float32"), x_val=(data.x_val / 255).astype("float32"))


workload = Workload(
    name="mnist",
    build=build_model,
    data=load_mnist,
    objective="val_accuracy",
    epochs=5,
    read_file=read_mnist_file,
    description="Flatten-Dense(128)-Dense(10) on MNIST, 60,000 + 10,000 images (or --data FILE.npz)",
)
