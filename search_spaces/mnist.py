"""mnist: the classic first Keras model on MNIST, from `keras.datasets` or an `.npz` file."""

from __future__ import annotations

from typing import Any

from search_spaces.batch_size import BatchSize
from search_spaces.data import Data
from search_spaces.files import read_images, scaled
from search_spaces.workload import Description, Workload


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
    return scaled(Data(x_train, y_train, x_val, y_val))


workload = Workload(
    name="mnist",
    build=build_model,
    data=load_mnist,
    objective="val_accuracy",
    epochs=3,
    batch_size=BatchSize(16, 1024),
    read_file=read_images,
    description=Description(
        data="MNIST, downloaded once: 60,000 + 10,000 images, or .npz",
        model="one hidden layer",
        space="batch 16 to 1024",
        minutes="2",
    ),
)
