"""Puts the arrays where a loop gathers its batches from."""

from __future__ import annotations

from typing import Any

import keras
import numpy.typing as npt
import tensorflow as tf

from search_spaces.data import Arrays
from tuning.training.arrays import device_dtype


def on_device(part: tuple[Arrays, ...], device: str) -> tuple[Arrays, ...]:
    """The arrays as tensors on a device, in Keras's float type and the same structure.

    Args:
        part: `(x, y)` or `(x, y, sample_weight)`.
        device: A TensorFlow device name such as "CPU:0" or "GPU:0".
    """

    def place(leaf: npt.NDArray[Any]) -> tf.Tensor:
        with tf.device(device):
            # identity, because an int32 constant stays in host memory even under a GPU's scope
            return tf.identity(tf.constant(leaf.astype(device_dtype(leaf), copy=False)))

    return tuple(keras.tree.map_structure(place, arrays) for arrays in part)
