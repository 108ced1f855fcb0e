"""The arrays as Keras's `fit` would see them: floats in Keras's float type, lists as tuples, class weights applied."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from search_spaces.data import Arrays, Data, leaves, map_arrays


@dataclass(frozen=True)
class TrainingArrays:
    """What every trial trains and validates on. The arrays may be memory maps; nothing here reads them whole.

    Args:
        train: `(x, y)` or `(x, y, sample_weight)`, nested tuples and dicts of arrays, first axis over examples.
        validation: Likewise.
        n_train: Number of training examples.
        n_val: Number of validation examples.
    """

    train: tuple[Arrays, ...]
    validation: tuple[Arrays, ...]
    n_train: int
    n_val: int

    @property
    def nbytes(self) -> int:
        """Size of all arrays as they would lie on the device."""
        every = [leaf for part in (self.train, self.validation) for leaf in leaves(part)]
        return sum(leaf.size * device_dtype(leaf).itemsize for leaf in every)

    def training_examples(self, count: int) -> tuple[Arrays, ...]:
        """The first `count` training examples, in the structure of `train`."""
        return first_examples(self.train, count)

    def validation_examples(self, count: int) -> tuple[Arrays, ...]:
        """The first `count` validation examples, in the structure of `validation`."""
        return first_examples(self.validation, count)


def as_keras_sees_them(data: Data, class_weight: Mapping[int, float] | None) -> TrainingArrays:
    """Apply to the structure of the data what Keras's `fit` applies to arrays, once for all trials.

    Lists become tuples, a single sample weight is repeated for every output, class weights become sample weights.

    Raises:
        ValueError: If class weights meet sample weights or several outputs.
    """
    train, validation = data.train, data.validation
    if class_weight is not None:
        train = (*train, _class_weights(data, class_weight))
    return TrainingArrays(_prepared(train), _prepared(validation), data.n_train, data.n_val)


def device_dtype(leaf: npt.NDArray[Any]) -> np.dtype[Any]:
    """The type in which Keras would train on this array: every float type becomes `keras.config.floatx()`."""
    return np.dtype(keras.config.floatx()) if leaf.dtype.kind == "f" else leaf.dtype


def first_examples(part: tuple[Arrays, ...], count: int) -> tuple[Arrays, ...]:
    """The first `count` examples of every array, in Keras's float type."""
    return tuple(map_arrays(lambda leaf: leaf[:count].astype(device_dtype(leaf)), arrays) for arrays in part)


def _prepared(part: tuple[Arrays, ...]) -> tuple[Arrays, ...]:
    if len(part) == 3 and not isinstance(part[1], np.ndarray) and isinstance(part[2], np.ndarray):
        part = (part[0], part[1], map_arrays(lambda _: part[2], part[1]))
    return tuple(_lists_to_tuples(arrays) for arrays in part)


def _lists_to_tuples(arrays: Arrays) -> Arrays:
    if isinstance(arrays, Mapping):
        return {name: _lists_to_tuples(value) for name, value in arrays.items()}
    if isinstance(arrays, (list, tuple)):
        return tuple(_lists_to_tuples(value) for value in arrays)
    return arrays


def _class_weights(data: Data, class_weight: Mapping[int, float]) -> npt.NDArray[Any]:
    if data.sample_weight_train is not None:
        raise ValueError("class_weight and sample weights exclude each other; multiply them into the sample weights.")
    if not isinstance(data.y_train, np.ndarray):
        raise ValueError("class_weight needs a single output; got several. Give one sample weight per output instead.")
    labels = data.y_train
    if labels.ndim > 1:
        labels = labels.squeeze(-1) if labels.shape[-1] == 1 else labels.argmax(-1)
    known, positions = np.unique(np.round(labels).astype("int32"), return_inverse=True)
    weights = np.array([class_weight.get(int(label), 1.0) for label in known], keras.config.floatx())
    return weights[positions]
