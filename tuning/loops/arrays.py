"""Arrays as Keras's `fit` would see them: their types, and where they lie."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from search_spaces.data import Arrays, Data, leaves, map_arrays
from search_spaces.stream import Stream, TrainingData
from tuning.loops.example_stream import ExampleStream
from tuning.loops.loader import Loader
from tuning.loops.order import example_seeds
from tuning.loops.processor import Cpu, Processor, this_processor
from tuning.loops.rows import Leaf, placed


@dataclass(frozen=True)
class TrainingArrays:
    """What every trial trains and validates on. The arrays may be memory maps; nothing here reads them whole.

    Where there are loaders, the arrays hold the keys of which they make the examples; a stream brings no arrays.

    Args:
        train: `(x, y)` or `(x, y, sample_weight)`, nested tuples and dicts of arrays, first axis over examples.
        validation: Likewise.
        n_train: Number of training examples in an epoch.
        n_val: Number of validation examples.
        loader: Makes training examples of their keys; None where the arrays hold the examples.
        validation_loader: Likewise for validation examples.
        stream: Makes all examples; None where there are arrays.
    """

    train: tuple[Arrays, ...]
    validation: tuple[Arrays, ...]
    n_train: int
    n_val: int
    loader: Loader | None = None
    validation_loader: Loader | None = None
    stream: ExampleStream | None = None

    @property
    def hold_examples(self) -> bool:
        """Whether the arrays hold the examples themselves."""
        return self.loader is None and self.stream is None

    @property
    def parts(self) -> int:
        """1 for examples `x`, 2 for `(x, y)`, 3 for `(x, y, sample_weight)`, class weights left aside."""
        maker = self.stream or self.loader
        return len(self.train if maker is None else maker.spec)

    @property
    def nbytes(self) -> int:
        """Size of all arrays as they would lie on the device."""
        every = [leaf for part in (self.train, self.validation) for leaf in leaves(part)]
        return sum(leaf.size * device_dtype(leaf).itemsize for leaf in every)

    def training_examples(self, count: int) -> tuple[Arrays, ...]:
        """Return the first `count` training examples, in the structure of `train` or of what the loader makes."""
        if self.stream is not None:
            return self.stream.training_examples(count)
        return self.training_batch(np.arange(min(count, self.n_train)))

    def validation_examples(self, count: int) -> tuple[Arrays, ...]:
        """Return the first `count` validation examples, likewise."""
        if self.stream is not None:
            return self.stream.validation_examples(count)
        return self.validation_batch(np.arange(min(count, self.n_val)))

    def validation_batch(self, rows: npt.NDArray[Any]) -> tuple[Arrays, ...]:
        """Return the validation examples of some rows, in Keras's float type; a stream has no rows."""
        return _examples(self.validation, rows, self.validation_loader)

    def refuse_chance(self) -> None:
        """Load a few examples twice, or try what makes a stream.

        Raises:
            DataError: If they cannot be loaded, or are not the same.
        """
        if self.stream is not None:
            self.stream.refuse_chance()
        for loader, count in ((self.loader, self.n_train), (self.validation_loader, self.n_val)):
            if loader is not None:
                loader.refuse_chance(example_seeds(0, 0, np.arange(min(_TRIED, count))))

    def training_batch(self, rows: npt.NDArray[Any]) -> tuple[Arrays, ...]:
        """Return the training examples of some rows, in Keras's float type; loaded as in the first epoch of seed 0.

        Of a stream, as many other ones as there are rows.
        """
        if self.stream is not None:
            return self.stream.draw(rows)
        return _examples(self.train, rows, self.loader)


def as_keras_sees_them(data: TrainingData, class_weight: Mapping[int, float] | None) -> TrainingArrays:
    """Apply to the structure of the data what Keras's `fit` applies to arrays, once for all trials.

    Lists become tuples, a single sample weight is repeated for every output, class weights become sample weights.

    Raises:
        ValueError: If class weights meet sample weights or several outputs.
        DataError: If `load`, or a factory of a stream, makes no examples that can be batched.
    """
    if isinstance(data, Stream):
        return TrainingArrays((), (), data.epoch_length, data.n_val, stream=ExampleStream(data, class_weight))
    train, validation = data.train, data.validation
    if data.load is None or data.load_val is None:
        if class_weight is not None:
            train = (*train, _class_weights(data, class_weight))
        return TrainingArrays(_prepared(train), _prepared(validation), data.n_train, data.n_val)
    train, validation = (tuple(map(_lists_to_tuples, part)) for part in (train, validation))
    few, few_val = (first_examples(part, _TRIED) for part in (train, validation))
    loader = Loader(data.load, few, class_weight=class_weight)
    validation_loader = Loader(data.load_val, few_val, name="load" if data.load_val is data.load else "load_val")
    return TrainingArrays(train, validation, data.n_train, data.n_val, loader, validation_loader)


def as_step_data(part: tuple[Arrays, ...]) -> Any:
    """Return what Keras's `fit` hands to `train_step` and `test_step` of such a part: the inputs themselves, if alone.

    Source: keras 3.15, `keras.utils.pack_x_y_sample_weight`, which keeps inputs in a tuple if they are one.
    """
    if len(part) > 1 or isinstance(part[0], (tuple, list)):
        return part
    return part[0]


def device_dtype(leaf: npt.NDArray[Any]) -> np.dtype[Any]:
    """Return the type in which Keras would train on this array: every float type becomes `keras.config.floatx()`."""
    return np.dtype(keras.config.floatx()) if leaf.dtype.kind == "f" else leaf.dtype


_TRIED = 13
"""The examples on which a `load` is tried."""


def first_examples(part: tuple[Arrays, ...], count: int) -> tuple[Arrays, ...]:
    """Return the first `count` examples of every array, in Keras's float type."""
    return tuple(map_arrays(lambda leaf: leaf[:count].astype(device_dtype(leaf)), arrays) for arrays in part)


def _examples(part: tuple[Arrays, ...], rows: npt.NDArray[Any], loader: Loader | None) -> tuple[Arrays, ...]:
    found = tuple(map_arrays(lambda leaf: np.asarray(leaf[rows]).astype(device_dtype(leaf)), each) for each in part)
    return found if loader is None else loader.examples(found, example_seeds(0, 0, rows))


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


_SHARE_FOR_DATA = 0.5  # of the memory that is free before any model is built; the rest is the model's


@dataclass(frozen=True)
class ResidentData:
    """The arrays on the device.

    Args:
        train: `(x, y)` or `(x, y, sample_weight)` as tensors or `Rows`.
        validation: Likewise.
        n_val: Number of validation examples.
        processor: Where they lie.
    """

    train: tuple[Arrays, ...]
    validation: tuple[Arrays, ...]
    n_val: int
    processor: Processor


class DataPlacement:
    """Places the arrays once, when first asked for, for all trials.

    Args:
        arrays: What trials train on.
        share_for_data: The share of a memory's free bytes that the arrays may take.
        processor: What trains; None for this process's own.
    """

    def __init__(
        self, arrays: TrainingArrays, share_for_data: float = _SHARE_FOR_DATA, processor: Processor | None = None
    ) -> None:
        self.arrays = arrays
        self.processor = processor or this_processor()
        self.free_bytes = self.processor.free_bytes()
        self.fits_on_device = arrays.nbytes <= share_for_data * self.free_bytes
        self.fits_on_host = arrays.nbytes <= share_for_data * Cpu().free_bytes()

    @property
    def has_text(self) -> bool:
        """Whether any array holds text or objects, which only a CPU without XLA can take."""
        every = leaves((self.arrays.train, self.arrays.validation))
        return any(leaf.dtype.kind in "SUO" for leaf in every)

    @functools.cached_property
    def on_device(self) -> ResidentData:
        """The arrays as tensors on the device, in Keras's float type."""
        arrays, processor = self.arrays, self.processor
        train, validation = (
            _placed(part, processor.name, for_gpu=processor.is_gpu) for part in (arrays.train, arrays.validation)
        )
        return ResidentData(train, validation, arrays.n_val, processor)

    @functools.cached_property
    def for_pipeline(self) -> tuple[Arrays, ...]:
        """The training arrays for a tf.data pipeline: tensors in host memory, or as they are if they do not fit."""
        if not self.fits_on_host:
            return self.arrays.train
        return _placed(self.arrays.train, Cpu.name, for_gpu=False) if self.processor.is_gpu else self.on_device.train


def _placed(part: tuple[Arrays, ...], device: str, *, for_gpu: bool) -> tuple[Arrays, ...]:
    def place(leaf: npt.NDArray[Any]) -> Leaf:
        return placed(leaf.astype(device_dtype(leaf), copy=False), device, for_gpu=for_gpu)

    return tuple(keras.tree.map_structure(place, arrays) for arrays in part)
