"""Class weights as Keras's `fit` applies them, on batches that a tf.data pipeline makes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf


class ClassWeights:
    """Adds the weight of its class to each example of a batch; classes left out weigh 1.

    Args:
        weights: Weight of each class.
        spec: What the pipeline makes: `(x,)`, `(x, y)` or `(x, y, sample_weight)` of specs.
        has_weights: Whether weights stand beside what is made.

    Raises:
        ValueError: If they meet sample weights or several outputs.
    """

    def __init__(self, weights: Mapping[int, float], spec: tuple[Any, ...], *, has_weights: bool = False) -> None:
        if len(spec) == 3 or has_weights:
            raise ValueError("class_weight and sample weights exclude each other; multiply them into the weights.")
        if len(spec) != 2 or not isinstance(spec[1], tf.TensorSpec):
            raise ValueError("class_weight needs a single output; give one sample weight per output instead.")
        self._weights = dict(weights)

    def __call__(self, x: Any, y: tf.Tensor) -> tuple[Any, ...]:
        """Return a batch with its weights, `(n,)` in Keras's float type."""
        labels = y
        if y.shape.rank > 1:
            labels = tf.squeeze(y, -1) if y.shape[-1] == 1 else tf.argmax(y, -1)
        classes = tf.constant(list(self._weights), tf.int64)
        weights = tf.constant(list(self._weights.values()), keras.config.floatx())
        rounded = labels if labels.dtype.is_integer else tf.round(labels)
        is_class = tf.cast(rounded, tf.int64)[..., None] == classes
        known = tf.reduce_sum(tf.where(is_class, weights, tf.zeros_like(weights)), -1)
        return x, y, tf.where(tf.reduce_any(is_class, -1), known, tf.ones_like(known))
