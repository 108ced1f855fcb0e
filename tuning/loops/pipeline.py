"""EpochPipeline: the batches of every epoch as a dataset, made as Keras makes its own of arrays."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from search_spaces.data import Arrays
from tuning.loops.arrays import device_dtype
from tuning.loops.order import ExampleOrder


class EpochPipeline:
    """A dataset whose iteration yields the batches of the epoch that was begun last.

    The pipeline is the one that Keras makes of arrays (a gather of each batch's rows, mapped in parallel and
    prefetched), on the rows of an `ExampleOrder`. The rows reach it through a variable: `from_generator` would make
    TensorFlow 2.21 lower the allocator's trim threshold for the whole process.

    Args:
        data: The training arrays: tensors in host memory, or numpy arrays, perhaps memory maps, read batch by batch.
        order: The examples of every update.
    """

    def __init__(self, data: tuple[Arrays, ...], order: ExampleOrder) -> None:
        self.order = order
        with tf.device("CPU:0"):
            self._rows = tf.Variable(order.rows(0), shape=(None, order.batch_size), trainable=False)
        rows = tf.data.Dataset.range(1).flat_map(lambda _: tf.data.Dataset.from_tensor_slices(self._rows.read_value()))
        batches = rows.map(
            lambda row: keras.tree.map_structure(lambda leaf: _batch(leaf, row), data),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        self.dataset = batches.with_options(_keras_options()).prefetch(tf.data.AUTOTUNE)

    def begin(self, epoch: int) -> None:
        """Let the next iteration serve this epoch, counted from 0."""
        self._rows.assign(self.order.rows(epoch))


def evaluation_dataset(data: tuple[Arrays, ...], n_examples: int, batch_size: int) -> tf.data.Dataset:
    """Return the validation batches of numpy arrays, read one by one, the remainder last."""
    starts = tf.data.Dataset.range(0, n_examples, batch_size, output_type=tf.int32)
    return starts.map(
        lambda start: keras.tree.map_structure(
            lambda leaf: _read(leaf, tf.range(start, tf.minimum(start + batch_size, n_examples))), data
        ),
        num_parallel_calls=tf.data.AUTOTUNE,
    ).prefetch(tf.data.AUTOTUNE)


def _batch(leaf: Any, row: tf.Tensor) -> tf.Tensor:
    return tf.gather(leaf, row) if tf.is_tensor(leaf) else _read(leaf, row)


def _read(leaf: npt.NDArray[Any], row: tf.Tensor) -> tf.Tensor:
    def read(indices: npt.NDArray[np.int32]) -> npt.NDArray[Any]:
        return np.asarray(leaf[indices], device_dtype(leaf))

    batch = tf.numpy_function(read, [row], tf.as_dtype(device_dtype(leaf)))
    return tf.ensure_shape(batch, (row.shape[0], *leaf.shape[1:]))


def _keras_options() -> tf.data.Options:
    """Return the options that Keras sets on the pipelines it makes of arrays (keras 3.15, array_data_adapter)."""
    options = tf.data.Options()
    options.experimental_optimization.apply_default_optimizations = False
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return options
