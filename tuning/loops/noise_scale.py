"""The gradient noise scale from gradients of frozen weights: unbiased estimates, a jackknife interval, or a refusal."""

from __future__ import annotations

import contextlib
import functools
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from scipy.special import stdtrit

from search_spaces.data import Arrays, map_arrays
from tuning.loops.arrays import device_dtype
from tuning.loops.keras_private import every_layer, takes_training
from tuning.loops.model_builder import ModelError

GROUPS = 16
LEAST_GROUPS = 8
LEVEL = 0.95  # one-sided, so that the interval holds 90 %

_MOST_PERMUTED = 2**24

BatchOf = Callable[[npt.NDArray[np.int64]], tuple[Arrays, ...]]
"""Returns the training examples of some rows, `(x, y)` or `(x, y, sample_weight)` in Keras's float type."""


@dataclass(frozen=True)
class GradientStatistics:
    """What M gradients of micro-batches, drawn without replacement, leave to be known: two small arrays.

    Args:
        micro_batch_size: b, examples per gradient.
        group_size: m, gradients per group; M = J*m.
        n_train: N, examples that were drawn from.
        squared_norms: Sum over each group of |g_j|^2, `(J,) float64`.
        products: Inner products of the groups' gradient sums, `(J, J) float64`.
    """

    micro_batch_size: int
    group_size: int
    n_train: int
    squared_norms: npt.NDArray[np.float64]
    products: npt.NDArray[np.float64]

    @property
    def sampled_variance(self) -> float:
        """(N-n)/(N-1): the variance of a mean of n of N examples over that of n independent ones; 0 if n = N."""
        examples = self.micro_batch_size * self.group_size * len(self.squared_norms)
        return max(0.0, (self.n_train - examples) / (self.n_train - 1))

    def estimate(self, left_out: int | None = None) -> tuple[float, float]:
        """Unbiased estimates of tr(Sigma) and |G|^2, of all groups or of all but one.

            full = |mean g_j|^2
            S    = b * M/(M-1) * (mean |g_j|^2 - full)
            G2   = full - S * (1/n - 1/N),     n = b*M

        Sigma is the covariance of one example's gradient with divisor N-1, G the gradient of the training set.
        """
        kept = np.arange(len(self.squared_norms)) != left_out
        count = int(kept.sum()) * self.group_size
        full = float(self.products[np.ix_(kept, kept)].sum()) / count**2
        mean_square = float(self.squared_norms[kept].sum()) / count
        trace = self.micro_batch_size * count / (count - 1) * (mean_square - full)
        examples = self.micro_batch_size * count
        return trace, full - trace * (1 / examples - 1 / self.n_train)


@dataclass(frozen=True)
class NoiseScale:
    """The gradient noise scale with its interval.

    Args:
        value: B_simple = tr(Sigma)/|G|^2 in examples; None if |G|^2 is not distinguishable from 0.
        low: Lower end of the 90 % interval; known where `value` is not, too, unless tr(Sigma) is not positive.
        high: Upper end; None where `value` is.
        trace_of_covariance: The estimate of tr(Sigma).
        squared_gradient_norm: The estimate of |G|^2, which may be negative.
    """

    value: float | None
    low: float | None
    high: float | None
    trace_of_covariance: float
    squared_gradient_norm: float


def noise_scale(statistics: GradientStatistics) -> NoiseScale:
    """Estimate B_simple = tr(Sigma)/|G|^2, the batch size at which noise and signal of a gradient are equal.

    The interval comes from leaving out one group at a time: with l_q = log(S_q/G2_q) and J groups,

        V(l) = (J-1)/J * sum (l_q - mean l)^2
        se^2 = (1 - f)*V(log S) + f*V(log S - log G2),   f = (N-n)/(N-1)
        interval = B_simple * exp(+- t(J-1; 0.95) * se).

    f is the finite-population factor. With n = N the gradient of the training set is exact, and only how the examples
    fell into micro-batches is left to chance, which S alone knows. Without f the intervals of 90 % hold 99 to 100 %
    where n is near N.

    Where the jackknife interval of |G|^2 reaches 0 the ratio has no upper end, and only
    `B_simple >= S / (upper end of |G|^2)` is told.

    Source: McCandlish et al., An Empirical Model of Large-Batch Training (2018), appendix A.1; Efron and Tibshirani,
        An Introduction to the Bootstrap (1993), chapter 11, for the jackknife; Cochran, Sampling Techniques (1977),
        section 2.6, for the factor.
    """
    groups = len(statistics.squared_norms)
    trace, squared_norm = statistics.estimate()
    parts = np.array([statistics.estimate(left_out) for left_out in range(groups)])
    quantile = float(stdtrit(groups - 1, LEVEL))  # of the t distribution; scipy.stats takes half a second to import
    share = statistics.sampled_variance
    spread = quantile * math.sqrt(share) * _jackknife_error(parts[:, 1])
    if trace <= 0:
        return NoiseScale(None, None, None, trace, squared_norm)
    if squared_norm - spread <= 0 or (parts <= 0).any():
        upper = squared_norm + spread
        return NoiseScale(None, trace / upper if upper > 0 else None, None, trace, squared_norm)
    value = trace / squared_norm
    of_trace, of_ratio = (_jackknife_error(each) for each in (np.log(parts[:, 0]), np.log(parts[:, 0] / parts[:, 1])))
    factor = math.exp(quantile * math.sqrt((1 - share) * of_trace**2 + share * of_ratio**2))
    return NoiseScale(value, value / factor, value * factor, trace, squared_norm)


def grouping(n_examples: int, micro_batch_size: int) -> tuple[int, int, int]:
    """Return the micro-batch size b, the number of groups J and the gradients per group m for so many examples.

    b is what was asked for, or less where that would leave fewer than 8 gradients. J lies between 8 and 16 and is
    chosen so that J*m*b uses as many of the examples as it can; of equals the most groups.

    Raises:
        ValueError: If there are fewer than 8 examples.

    >>> grouping(4096, 32)
    (32, 16, 8)
    >>> grouping(1437, 32)
    (32, 11, 4)
    """
    if n_examples < LEAST_GROUPS:
        raise ValueError(f"A noise scale needs {LEAST_GROUPS} examples or more; got {n_examples}.")
    size = min(micro_batch_size, n_examples // LEAST_GROUPS)
    count = n_examples // size
    groups = max(range(LEAST_GROUPS, min(GROUPS, count) + 1), key=lambda j: (j * (count // j), j))
    return size, groups, count // groups


def _jackknife_error(values: npt.NDArray[np.float64]) -> float:
    return float(np.sqrt((len(values) - 1) / len(values) * np.sum((values - values.mean()) ** 2)))


class FrozenGradients:
    """Measures the gradient noise scale of a model's present weights, any number of times during a training.

    The loss is the training loss, regularisers and sample weights included, with dropout and other random layers as
    in training. Batch normalisation uses its moving statistics, since a micro-batch is no unbiased piece of a batch
    where examples see each other. Clipping and loss scaling, which come after the gradient, play no part.

    Args:
        model: Compiled and built, with Keras's own `train_step`.
        train: `(x, y)` or `(x, y, sample_weight)`: nested dicts and tuples of arrays, first axis over examples; the
            keys where examples are loaded.
        examples: n, drawn without replacement for each measurement; all of them where there are fewer.
        micro_batch_size: b, examples per gradient.
        seed: Fixes what is drawn.
        batch_of: Returns the examples of some rows; None to read them from `train`.
        n_train: Examples that are drawn from; None for as many as `train` has.

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
        batch_of: BatchOf | None = None,
        n_train: int | None = None,
    ) -> None:
        if type(model).train_step is not keras.Model.train_step:
            raise ModelError(
                f"A gradient noise scale needs Keras's own train_step, whose loss is known; got "
                f"{type(model).__name__}.train_step. Override compute_loss instead."
            )
        self._model = model
        self._batch_of = batch_of or functools.partial(_rows_of, train)
        self._n_train = n_train or len(keras.tree.flatten(train)[0])
        self._sizes = grouping(min(examples, self._n_train), micro_batch_size)
        self._random = np.random.default_rng(seed)
        self._variables = list(model.trainable_variables)
        self._gradient = tf.function(self._flat_gradient, reduce_retracing=True)

    def measure(self) -> NoiseScale:
        """Return the noise scale at the model's present weights."""
        return noise_scale(self.statistics())

    def statistics(self) -> GradientStatistics:
        """Gradients of fresh micro-batches, boiled down to what the estimate needs."""
        size, groups, per_group = self._sizes
        rows = self._drawn(groups * per_group * size)
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

    def _drawn(self, count: int) -> npt.NDArray[np.int64]:
        """Return rows without repetition, of a huge set without a permutation of them all in memory."""
        if self._n_train <= _MOST_PERMUTED:
            return self._random.permutation(self._n_train)[:count]
        return self._random.choice(self._n_train, count, replace=False)

    def _group(self, batches: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.float32], float]:
        """Return the sum of a group's gradients, and the sum of their squared norms."""
        total: Any = None
        norms = 0.0
        for rows in batches:
            gradient, squared_norm = self._gradient(self._batch(np.sort(rows)))
            total = gradient if total is None else total + gradient
            norms += float(squared_norm)
        return total.numpy(), norms

    def _batch(self, rows: npt.NDArray[np.int64]) -> tuple[Any, ...]:
        return tuple(map_arrays(tf.constant, part) for part in self._batch_of(rows))

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


def _rows_of(train: tuple[Arrays, ...], rows: npt.NDArray[np.int64]) -> tuple[Arrays, ...]:
    return tuple(
        map_arrays(lambda leaf: np.asarray(leaf[rows]).astype(device_dtype(leaf), copy=False), part) for part in train
    )


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
