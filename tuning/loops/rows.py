"""Rows: an array on a GPU in words whose examples the GPU itself can gather, whatever their type.

TensorFlow 2.21 has no kernel on a GPU that gathers uint8, int8, int16, uint16, uint32 or uint64 (its own registry of
kernels says so), and it keeps int32 in the host's memory. An array of those types, an image's for example, would cross
the bus as a whole at every update. Words of another type with the same bits have such kernels, and the bits of the
gathered words are read as what they are.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import tensorflow as tf

_TYPES = frozenset({"uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64"})
"""The types that a GPU does not gather."""

_SAME_SIZE = {4: np.float32, 8: np.int64}
"""Words of as many bytes as a number, copied bit by bit: TensorFlow gives an int32 another shape on the host."""


class Rows:
    """An array of examples as words, which gives back batches of its own type.

    Args:
        array: Of a type that a GPU cannot gather, first axis over examples.
        device: Where the words are put, such as "GPU:0".
    """

    def __init__(self, array: npt.NDArray[Any], device: str) -> None:
        self.shape = tf.TensorShape(array.shape)
        self.dtype = tf.as_dtype(array.dtype)
        with tf.device(device):
            self.words = tf.constant(_as_words(array))

    def batch(self, words: tf.Tensor, size: int) -> tf.Tensor:
        """Return the examples that some words hold, `(size, ...)` of the array's own type.

        Args:
            words: `(size, words of a row)`, taken from `words`.
            size: How many examples.
        """
        shape = (size, *self.shape[1:])
        if words.dtype.size == self.dtype.size:
            return tf.bitcast(tf.reshape(words, shape), self.dtype)
        numbers = tf.reshape(tf.bitcast(words, self.dtype), (size, -1))
        length = self.shape[1:].num_elements()
        return tf.reshape(numbers if numbers.shape[1] == length else numbers[:, :length], shape)


Leaf: TypeAlias = Any
"""An array on the device: a `tf.Tensor`, or `Rows`."""


def placed(array: npt.NDArray[Any], device: str, *, for_gpu: bool) -> Leaf:
    """Return an array on a device, in words where a GPU could not gather its examples."""
    if for_gpu and array.dtype.name in _TYPES:
        return Rows(array, device)
    with tf.device(device):
        return tf.identity(tf.constant(array))


def gather(leaf: Leaf, rows: tf.Tensor) -> tf.Tensor:
    """Return the examples of some rows, `(len(rows), ...)`, inside a graph; the number of rows is static."""
    if isinstance(leaf, Rows):
        return leaf.batch(tf.gather(leaf.words, rows), rows.shape[0])
    return tf.gather(leaf, rows)


def take(leaf: Leaf, start: Any, size: int) -> tf.Tensor:
    """Return `size` examples from `start` on, inside a graph."""
    if isinstance(leaf, Rows):
        return leaf.batch(tf.reshape(leaf.words[start : start + size], (size, leaf.words.shape[1])), size)
    # not ensure_shape, which takes what is bool to the host
    return tf.reshape(leaf[start : start + size], (size, *leaf.shape[1:]))


def _as_words(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return `(examples, words)`; rows of small numbers are padded with zeros to whole words of 8 bytes."""
    flat = np.ascontiguousarray(array).reshape(len(array), -1)
    if array.itemsize in _SAME_SIZE:
        return flat.view(_SAME_SIZE[array.itemsize])
    per_word = 8 // array.itemsize
    return np.pad(flat, ((0, 0), (0, -flat.shape[1] % per_word))).view(np.int64)
