"""Gradients of the training loss at frozen weights, leaving the model's state exactly as it was."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from search_spaces.data import Arrays, map_arrays
from tuning.training.arrays import device_dtype
from tuning.training.internals import every_layer, takes_training
from tuning.training.model_builder import ModelError
from tuning.training.noise_scale import GradientStatistics, NoiseScale, grouping, noise_scale


class FrozenGradients:
    """Measures the gradient noise scale of a model's present weights, any number of times during a training.

    The loss is the training loss, regularisers and sample weights included, with dropout and other random layers as
    in training. Batch normalisation uses its moving statistics, since a micro-batch is no unbiased piece of a batch
    where examples see each other. Clipping and loss scaling, which come after the gradient, play no part.

    Args:
        model: Compiled and built, with Keras's own `train_step`.
        train: `(x, y)` or `(x, y, sample_weight)`: nested dicts and tuples of arrays, first axis over examples.
        examples: n, drawn without replacement for each measurement; all of them where there are fewer.
        micro_batch_size: b, examples per gradient.
        seed: Fixes what is drawn.

    Raises:
        ModelError: If the model has a `train_step` of its own, whose gradient is not known.
    """

    def __init__(
        self,
        model: keras.Model,
        train: tuple[Arrays, ...],
        *,
        examples: int = 4096,
        micro_batch_size: int = 32,
        seed: int = 0,
    ) -> None:
        if type(model).train_step is not keras.Model.train_step:
            raise ModelError(
                f"A gradient noise scale needs Keras's own train_step, whose loss is known; got "
                f"{type(model).__name__}.train_step. Override compute_loss instead."
            )
        self._model = model
        self._train = train
        self._n_train = len(keras.tree.flatten(train)[0])
        self._sizes = grouping(min(examples, self._n_train), micro_batch_size)
        self._random = np.random.default_rng(seed)
        self._variables = list(model.trainable_variables)
        self._gradient = tf.function(self._flat_gradient, reduce_retracing=True)

    def measure(self) -> NoiseScale:
        """The noise scale at the model's present weights."""
        return noise_scale(self.statistics())

    def statistics(self) -> GradientStatistics:
        """Gradients of fresh micro-batches, boiled down to what the estimate needs."""
        size, groups, per_group = self._sizes
        rows = self._random.permutation(self._n_train)[: groups * per_group * size]
        batches = rows.reshape(groups, per_group, size)
        with _unchanged(self._model):
            measured = [self._group(group) for group in batches]
        sums = np.stack([total for total, _ in measured])
        return GradientStatistics(
            micro_batch_size=size,
            group_size=per_group,
            n_train=self._n_train,
            squared_norms=np.array([norms for _, norms in measured]),
            products=_products(sums),
        )

    def _group(self, batches: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.float32], float]:
        """The sum of a group's gradients, and the sum of their squared norms."""
        total: Any = None
        norms = 0.0
        for rows in batches:
            gradient, squared_norm = self._gradient(self._batch(np.sort(rows)))
            total = gradient if total is None else total + gradient
            norms += float(squared_norm)
        return total.numpy(), norms

    def _batch(self, rows: npt.NDArray[np.int64]) -> tuple[Any, ...]:
        return tuple(
            map_arrays(lambda leaf: tf.constant(np.asarray(leaf[rows]).astype(device_dtype(leaf), copy=False)), part)
            for part in self._train
        )

    def _flat_gradient(self, batch: tuple[Any, ...]) -> tuple[tf.Tensor, tf.Tensor]:
        x, y, weight = keras.utils.unpack_x_y_sample_weight(batch)
        values = [variable.value for variable in self._variables]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            for value in values:
                tape.watch(value)
            predicted = self._model(x, training=True) if takes_training(self._model) else self._model(x)
            loss = self._model.compute_loss(x=x, y=y, y_pred=predicted, sample_weight=weight, training=True)
        gradients = tape.gradient(loss, values, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        dense = [tf.cast(tf.convert_to_tensor(gradient), tf.float32) for gradient in gradients]
        flat = tf.concat([tf.reshape(gradient, [-1]) for gradient in dense], axis=0)
        return flat, tf.reduce_sum(tf.square(tf.cast(flat, tf.float64)))


@contextlib.contextmanager
def _unchanged(model: keras.Model) -> Iterator[None]:
    """Freeze batch normalisation, and put back whatever evaluating the training loss may change."""
    kept = [*model.non_trainable_variables, *model.metrics_variables]
    values = [variable.value.numpy() for variable in kept]
    python, numpy_state = random.getstate(), np.random.get_state()
    thaw = _freeze_batch_normalization(model)
    try:
        yield
    finally:
        thaw()
        for variable, value in zip(kept, values, strict=True):
            variable.assign(value)
        random.setstate(python)
        np.random.set_state(numpy_state)


def _freeze_batch_normalization(model: keras.Model) -> Callable[[], None]:
    """Let these layers use their moving statistics: Keras 3 does so for a layer that is not trainable."""
    layers = [
        layer for layer in every_layer(model) if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
    ]
    flags = [(variable, variable.trainable) for layer in layers for variable in layer.variables]
    for layer in layers:
        layer.trainable = False

    def thaw() -> None:
        for layer in layers:
            layer.trainable = True
        for variable, trainable in flags:
            variable.trainable = trainable

    return thaw


def _products(sums: npt.NDArray[np.float32], chunk: int = 1 << 20) -> npt.NDArray[np.float64]:
    """Inner products of the rows in double precision, a part of the columns at a time."""
    total = np.zeros((len(sums), len(sums)))
    for start in range(0, sums.shape[1], chunk):
        part = sums[:, start : start + chunk].astype(np.float64)
        total += part @ part.T
    return total
