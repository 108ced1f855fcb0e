"""ExampleStream: the examples of a `Stream` in a worker, one endless concatenation of what its factories make."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from search_spaces.collecting import row_hashes
from search_spaces.data import Arrays, DataError
from search_spaces.dataset_chain import is_batched
from search_spaces.datasets import is_dataset
from search_spaces.records import TrainingRecords
from search_spaces.stream import Stream, made_by
from tuning.loops.class_weights import ClassWeights
from tuning.loops.failures import status_of_error
from tuning.loops.loader import Element, as_element, in_short
from tuning.trial import Status

TRIED = 256
"""The examples by which a factory is tried."""

_READ_AT_ONCE = 16
_LEAST_TO_DIFFER = 8  # fewer come in the same order now and then, by chance: 8 in one of 40,320 cases
_ENDLESS = 2**62
_DRAWN = 2**32  # added to the seed of what is drawn beside a training: no trial has such a seed


class ExampleStream:
    """Makes batches of the examples that the factories of a `Stream` make, in Keras's float type.

    Args:
        stream: The factories.
        class_weight: Weight of each class in the training loss, or None.

    Raises:
        DataError: If a factory raises, or makes no dataset of single examples of one shape.
        ValueError: If class weights meet sample weights or several outputs.
    """

    def __init__(self, stream: Stream, class_weight: Mapping[int, float] | None = None) -> None:
        self._stream = stream
        self._spec = self._train(0, 0).element_spec
        self.spec = self._fixed("train", functools.partial(self._train, 0, 0))
        self._spec_val = self._fixed("validation", self._validation)
        self._weighted = None if class_weight is None else ClassWeights(class_weight, self.spec)
        self._draws: dict[int, Iterator[Element]] = {}

    @property
    def n_train(self) -> int:
        """Number of training examples, of which an epoch may be a part."""
        return self._stream.n_train

    def training_batches(self, seed: int, batch_size: int) -> tf.data.Dataset:
        """Return the batches of a trial, without an end: the epochs of the factory follow one another."""
        batches = self._endless(seed).batch(batch_size, drop_remainder=True).map(functools.partial(_shaped, self.spec))
        return batches if self._weighted is None else batches.map(self._weighted)

    def validation_batches(self, batch_size: int) -> tf.data.Dataset:
        """Return the validation batches, the remainder last.

        Reading them raises where there are fewer examples than were promised.
        """
        n_val = self._stream.n_val
        exact = self._validation().take(n_val).apply(tf.data.experimental.assert_cardinality(n_val))
        return exact.batch(batch_size).map(functools.partial(_shaped, self._spec_val))

    def training_examples(self, count: int) -> Element:
        """Return the first training examples of seed 0 as NumPy arrays."""
        return _first(self.training_batches(0, min(count, self._stream.epoch_length)))

    def validation_examples(self, count: int) -> Element:
        """Return the first validation examples as NumPy arrays."""
        return _first(self.validation_batches(min(count, self._stream.n_val)))

    def draw(self, rows: npt.NDArray[Any]) -> tuple[Arrays, ...]:
        """Return as many training examples as there are rows: the next ones in an order that no trial has."""
        count = len(rows)
        if count not in self._draws:
            self._draws[count] = self.training_batches(_DRAWN, count).as_numpy_iterator()
        return next(self._draws[count])

    def refuse_chance(self) -> None:
        """Make the first examples several times.

        Raises:
            DataError: If the same seed makes others, or another seed the same, or they are too few.
        """
        n_train, n_val = self._stream.n_train, self._stream.n_val
        first = self._hashes("train", self._train(0, 0), n_train)
        if not np.array_equal(first, self._hashes("train", self._train(0, 0), n_train)):
            raise DataError(
                f"train of a Stream must make the same examples of the same seed; of the first {len(first)} some "
                "differ. Pass seed to shuffle(), and to whatever else draws: dataset.shuffle(10_000, seed=seed)."
            )
        other = self._hashes("train", self._train(1, 0), n_train)  # every epoch has a seed of its own
        if np.array_equal(first, other) and len(first) >= _LEAST_TO_DIFFER:
            raise DataError(
                f"train of a Stream must make another order of another seed; the first {len(first)} examples are the "
                "same. Pass seed to shuffle(): dataset.shuffle(10_000, seed=seed)."
            )
        first, again = (self._hashes("validation", self._validation(), n_val) for _ in range(2))
        if not np.array_equal(first, again):
            raise DataError(
                "validation of a Stream must always make the same examples; two passes differ. Leave out what shuffles "
                "or draws."
            )

    def _train(self, seed: int, epoch: int) -> tf.data.Dataset:
        return self._made("train", _seed_of(seed, epoch), epoch)

    def _validation(self) -> tf.data.Dataset:
        return self._made("validation", 0, 0)

    def _endless(self, seed: int) -> tf.data.Dataset:
        """Return the examples of one epoch after the other."""
        epochs, train = tf.data.Dataset.range(_ENDLESS), self._stream.train
        if isinstance(train, TrainingRecords):
            return train.one_after_the_other(epochs.map(functools.partial(_drawn_seed, seed)))
        kept: deque[tf.data.Dataset] = deque(maxlen=2)  # the epoch that is read, and the one before it
        return epochs.flat_map(functools.partial(self._epoch_of, seed, kept))

    def _made(self, part: str, seed: int, epoch: int) -> tf.data.Dataset:
        """Return what a factory makes, in an order that no number of threads changes."""
        try:
            made = made_by(getattr(self._stream, part), seed, epoch)
        except Exception as error:
            raise self._refusal(part, error) from error
        if not is_dataset(made):
            raise DataError(f"{part} of a Stream must return a tf.data.Dataset; got {type(made).__name__}.")
        if is_batched(made):
            raise DataError(
                f"{part} of a Stream must make single examples; got batches, whose size is what is searched. Call "
                ".unbatch(), or leave out .batch()."
            )
        options = tf.data.Options()
        options.deterministic = True
        return made.with_options(options)

    def _epoch_of(self, seed: int, kept: deque[tf.data.Dataset], epoch: tf.Tensor) -> tf.data.Dataset:
        """Return the examples of an epoch, inside a graph: Python makes its dataset when its turn comes."""

        def make(epoch: tf.Tensor) -> tf.Tensor:
            with tf.device("CPU:0"):
                made = self._train(seed, int(epoch))
            if made.element_spec != self._spec:
                raise DataError(f"train of a Stream must always make examples of one kind; got {made.element_spec}.")
            kept.append(made)  # its functions live as long as it does
            return tf.data.experimental.to_variant(made)

        variant = tf.py_function(make, [epoch], tf.variant)
        variant.set_shape(())
        return tf.data.experimental.from_variant(variant, self._spec)

    def _fixed(self, part: str, make: Callable[[], tf.data.Dataset]) -> Element:
        """Return shapes and types of single examples; those of the first where the dataset leaves sizes open."""
        made = make()
        spec = made.map(_as_element).element_spec
        for each in tf.nest.flatten(spec):
            if not isinstance(each, tf.TensorSpec):
                kind = type(each).__name__.removesuffix("Spec")
                raise DataError(f"{part} of a Stream must make dense tensors, which can be batched; got a {kind}.")
        if not 1 <= len(spec) <= 3:
            raise DataError(f"{part} of a Stream must make x, (x, y) or (x, y, sample_weight); got {len(spec)} parts.")
        if all(each.shape.is_fully_defined() for each in tf.nest.flatten(spec)):
            return tuple(spec)
        try:
            first = next(iter(made.map(_as_element).take(1)))
        except StopIteration:
            raise DataError(
                f"{part} of a Stream must make examples; got none. Check its files or its filter."
            ) from None
        except Exception as error:
            raise self._refusal(part, error) from error
        return tuple(tf.nest.map_structure(lambda leaf: tf.TensorSpec(leaf.shape, leaf.dtype), part) for part in first)

    def _hashes(self, part: str, made: tf.data.Dataset, count: int) -> npt.NDArray[np.uint64]:
        """Return a hash of each of the first examples."""
        tried = min(TRIED, count)
        batches = made.map(_as_element).take(tried).batch(_READ_AT_ONCE)
        try:
            found = np.concatenate([np.zeros(0, np.uint64), *map(row_hashes, batches.as_numpy_iterator())])
        except Exception as error:
            raise self._refusal(part, error) from error
        if len(found) < tried:
            name = "n_train" if part == "train" else "n_val"
            raise DataError(
                f"{part} of a Stream must make as many examples as {name} tells, {count}; got {len(found)}. Correct "
                f"{name}, or check the files or the filter."
            )
        return found

    def _refusal(self, part: str, error: Exception) -> Exception:
        if isinstance(error, DataError) or status_of_error(error)[0] is Status.OUT_OF_MEMORY:
            return error
        return DataError(
            f"{part} of a Stream must make examples of one shape; it raised {in_short(error)}. Call it by "
            "itself to find out why."
        )


def _seed_of(seed: int, epoch: int) -> int:
    """Return what an epoch of a trial draws from, from 0 to 2**31 - 1."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0] >> 1)


def _drawn_seed(seed: int, epoch: tf.Tensor) -> tf.Tensor:
    """Return the same inside a graph, int64."""
    drawn = tf.numpy_function(lambda epoch: np.int64(_seed_of(seed, int(epoch))), [epoch], tf.int64)
    return tf.ensure_shape(drawn, ())


def _as_element(*parts: Any) -> Element:
    return as_element(parts)


def _shaped(spec: Element, *parts: Any) -> Element:
    """Return a batch with the shapes of its examples."""
    found: Element = tf.nest.map_structure(
        lambda leaf, each: tf.ensure_shape(leaf, (leaf.shape[0], *each.shape)), _as_element(*parts), spec
    )
    return found


def _first(batches: tf.data.Dataset) -> Element:
    found: Element = next(batches.as_numpy_iterator())
    return found
