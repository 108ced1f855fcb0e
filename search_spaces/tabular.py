"""tabular: a small network on scikit-learn's breast cancer data, or on any table whose last column is a class."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from search_spaces.batch_size import BatchSize
from search_spaces.data import Data, DataError
from search_spaces.files import labels_of, numbers_of, read_table
from search_spaces.learning_rate import LearningRate
from search_spaces.workload import Description, Workload

MAX_CLASSES = 100
_VALIDATION_SHARE = 0.2


def build_model(features: int = 30, classes: int = 2) -> Any:
    """Dense(32, relu) and a softmax on standardised columns; SGD with momentum at 0.01."""
    import keras

    model = keras.Sequential(
        [
            keras.Input((features,)),
            keras.layers.Dense(32, activation="relu"),
            keras.layers.Dense(classes, activation="softmax"),
        ]
    )
    optimizer = keras.optimizers.SGD(0.01, momentum=0.9)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def load_breast_cancer() -> Data:
    """455 training and 114 validation tumours, `(n, 30) float32`; 1 is benign."""
    from sklearn.datasets import load_breast_cancer as sklearn_breast_cancer

    table = sklearn_breast_cancer()
    return split(table.data, table.target)


def read_classes(path: str, *, label: str | None = None) -> Data:
    """A `.csv` or `.parquet` file: columns of numbers, and the class, a word or a whole number.

    Args:
        path: The file.
        label: The column of the class; None for the last.

    Raises:
        DataError: If the file is no such table.
    """
    columns, labels = labels_of(read_table(path), path, label)
    found = labels.nunique()
    if labels.isna().any() or not 2 <= found <= MAX_CLASSES or labels.value_counts().min() < 2:
        which = "last column" if label is None else "label"
        raise DataError(
            f"The {which} must name one of 2 to {MAX_CLASSES} classes in every row, each in two rows or more; "
            f"{labels.name!r} of {path} has {found} different values in {len(labels)} rows."
        )
    return split(numbers_of(columns, path), labels.to_numpy())


def split(x: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> Data:
    """A fifth of each class is held out, at random but always the same; columns are standardised by the rest."""
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler

    y = np.unique(labels, return_inverse=True)[1].astype("int32")
    n_val = max(round(_VALIDATION_SHARE * len(y)), y.max() + 1)
    x_train, x_val, y_train, y_val = train_test_split(x, y, test_size=int(n_val), stratify=y, random_state=0)
    scaler = StandardScaler().fit(x_train)
    return Data(scaler.transform(x_train).astype("float32"), y_train, scaler.transform(x_val).astype("float32"), y_val)


def build_for(data: Data) -> Any:
    """The same network for another number of columns and classes."""
    classes = int(max(data.y_train.max(), data.y_val.max())) + 1
    return partial(build_model, features=data.x_train.shape[1], classes=classes)


workload = Workload(
    name="tabular",
    build=build_model,
    build_for=build_for,
    data=load_breast_cancer,
    objective="val_loss",
    epochs=20,
    batch_size=BatchSize(4, 64),
    learning_rate=LearningRate(spread=(1 / 3, 1.0, 3.0)),
    read_file=read_classes,
    description=Description(
        data="scikit-learn's breast cancer: 455 + 114 rows, or .csv",
        model="one hidden layer",
        space="batch 4 to 64, 3 learning rates",
        minutes="1",
    ),
)
