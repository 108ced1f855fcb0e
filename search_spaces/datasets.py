"""Datasets: `tf.data.Dataset` and Keras's `PyDataset`, collected into arrays once, in bounded time and memory."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from search_spaces.collecting import EXAMPLES_READ_AGAIN, Collector, as_batch, as_parts, has_equal_lengths
from search_spaces.dataset_chain import Length, is_batched, is_shuffled, length_of
from search_spaces.structure import Arrays, DataError, leaves, one_line

_LOG = logging.getLogger(__name__)

MOST_SECONDS_OF_UNKNOWN_LENGTH = 6.0
"""A dataset that does not tell whether it ends is read for at most so long."""

_READ_BYTES = 4 * 2**20  # of one step of reading
_READ_EXAMPLES = 64  # where the size of an example is not known

Parts = tuple[Arrays, Arrays, Arrays]
"""Inputs, targets and sample weights; None where there are none."""


def is_dataset(given: Any) -> bool:
    """Return whether something is a `tf.data.Dataset`."""
    return hasattr(given, "element_spec") and hasattr(given, "as_numpy_iterator") and not hasattr(given, "__next__")


def is_py_dataset(given: Any) -> bool:
    """Return whether something is a `keras.utils.PyDataset` (or `Sequence`, its older name)."""
    return any(
        kind.__name__ in ("PyDataset", "Sequence") and kind.__module__.partition(".")[0] in ("keras", "tf_keras")
        for kind in type(given).__mro__
    )


def collect(part: str, given: Any, *, batched: bool | None = None) -> Parts:
    """Return the examples of a dataset as inputs, targets and sample weights.

    A batched one is taken apart. One whose order is random is put into an order that depends on the examples alone, so
    that a search finds the same data when it goes on; the search shuffles anyway.

    Args:
        part: "training" or "validation", for errors and notes.
        given: A `tf.data.Dataset` or a `keras.utils.PyDataset`.
        batched: Whether the elements of a `tf.data.Dataset` are batches; None for what its making tells.

    Raises:
        DataError: If it is endless, too large, empty, random in its examples, or cannot be taken apart.
    """
    try:
        return _collect_py_dataset(part, given) if is_py_dataset(given) else _collect_dataset(part, given, batched)
    except DataError:
        raise
    except Exception as error:  # whatever the user's functions raise, TensorFlow's own refusal of ragged batches too
        raise DataError(
            f"The {part} dataset must be readable and have examples of one shape; reading it raised {one_line(error)} "
            "Pad or crop the examples in its map, or mend it."
        ) from None


def _collect_dataset(part: str, dataset: Any, batched: bool | None) -> Parts:
    _check_elements(part, dataset)
    length = length_of(dataset)
    if length is Length.ENDLESS:
        raise DataError(
            f"The {part} dataset must be finite; got an endless one. Remove .repeat(), add .take(n), or hand over a "
            "Stream."
        )
    batched = _reads_as_batched(part, dataset) if batched is None else batched
    limit = MOST_SECONDS_OF_UNKNOWN_LENGTH if length is Length.UNKNOWN else None
    collector, expected = Collector(part), _expected(dataset) if not batched else None
    collector.check_bytes((_bytes_of_element(dataset) or 0) * (_expected(dataset) or 1), expected)
    for batch in _in_time(part, _batches(part, dataset, batched), limit):
        collector.add(batch, expected)
    again = _batches(part, dataset, batched)
    return _settled(collector, again, batched=batched, shuffled=is_shuffled(dataset))


def _collect_py_dataset(part: str, dataset: Any) -> Parts:
    count = dataset.num_batches if hasattr(dataset, "num_batches") else len(dataset)
    if count is None:
        raise DataError(f"The {part} PyDataset must tell its number of batches; got an endless one. Define __len__.")

    def batches() -> Iterator[tuple[Arrays, ...]]:
        for index in range(count):
            element = dataset[index]
            yield _whole_batch(part, tuple(element) if isinstance(element, list) else element)

    collector = Collector(part)
    for batch in batches():
        size = len(next(leaves(batch)))
        # the last batch may be smaller, so that one less is certain
        collector.add(batch, (count - 1) * size if not collector.count and count > 1 else None)
    return _settled(collector, batches(), batched=True)


def _settled(collector: Collector, again: Iterator[Arrays], *, batched: bool, shuffled: bool = False) -> Parts:
    """Return what was collected, after a look at what a second pass gives."""
    part = collector.part
    if not collector.count:
        raise DataError(f"The {part} dataset must have examples; got none. Check its files or its filter.")
    same_order, same_examples = collector.compare(again)
    if not same_examples:
        raise DataError(
            f"Two passes over the {part} dataset must give the same examples; got others, so that collecting "
            "them would freeze what is random. Move augmentation into the model's preprocessing layers "
            "(keras.layers.RandomFlip) or into a load of Data(..., load=...), or leave it out and fix every seed."
        )
    if batched:
        _LOG.warning(f"The {part} dataset is batched; its batches are taken apart: their size is what is searched.")
    if same_order and not shuffled:
        return as_parts(collector.arrays())
    _LOG.warning(
        f"The {part} dataset shuffles; its examples are collected in one fixed order, since the search "
        "shuffles them for every seed and epoch."
    )
    return as_parts(collector.sorted_arrays())


def _check_elements(part: str, dataset: Any) -> None:
    """Refuse elements that are no plain tensors."""
    import tensorflow as tf

    for spec in tf.nest.flatten(dataset.element_spec):
        if not isinstance(spec, tf.TensorSpec):
            kind = type(spec).__name__.removesuffix("Spec")
            raise DataError(
                f"The {part} dataset must yield dense tensors; got {kind}s. Turn each into a tensor of one shape in "
                "its map: .to_tensor(shape=...) of a ragged one, tf.sparse.to_dense of a sparse one."
            )


def _reads_as_batched(part: str, dataset: Any) -> bool:
    """Return whether elements are batches, by the making of a dataset, or by what can be no batch.

    Raises:
        DataError: If both would be possible.
    """
    import tensorflow as tf

    found = is_batched(dataset)
    if found is not None:
        return found
    shapes = [spec.shape for spec in tf.nest.flatten(dataset.element_spec)]
    if any(shape.rank == 0 for shape in shapes):
        return False
    first = [None if shape.rank is None else shape[0] for shape in shapes]
    if len(shapes) > 1 and len({length for length in first if length is not None}) > 1:
        return False
    raise DataError(
        f"The {part} dataset must yield single examples, and nothing tells whether it does; got elements of shapes "
        f"{', '.join(map(str, shapes))[:80]}. Call .unbatch() if they are batches; if each is one example, hand over "
        "Data.from_tf_data(train, validation, batched=False)."
    )


def _expected(dataset: Any) -> int | None:
    count = int(dataset.cardinality())
    return count if count >= 0 else None


def _batches(part: str, dataset: Any, batched: bool) -> Iterator[tuple[Arrays, ...]]:
    """Yield the examples of a dataset a few at a time, as arrays."""
    for element in (dataset if batched else dataset.batch(_examples_per_read(dataset))).as_numpy_iterator():
        yield _whole_batch(part, element)


def _whole_batch(part: str, element: Any) -> tuple[Arrays, ...]:
    batch = as_batch(part, element)
    if not has_equal_lengths(batch):
        told = ", ".join(str(leaf.shape) for leaf in leaves(batch))
        raise DataError(
            f"The {part} batches must have their examples along the first axis of every array; got {told[:80]}. Yield "
            "batches of equal lengths, or single examples."
        )
    return batch


def _examples_per_read(dataset: Any) -> int:
    one = _bytes_of_element(dataset)
    return _READ_EXAMPLES if one is None else max(1, min(EXAMPLES_READ_AGAIN, _READ_BYTES // max(1, one)))


def _bytes_of_element(dataset: Any) -> int | None:
    """Return the bytes of one element as the dataset declares it; None where it leaves that open."""
    import tensorflow as tf

    specs = tf.nest.flatten(dataset.element_spec)
    if any(not spec.shape.is_fully_defined() or spec.dtype == tf.string for spec in specs):
        return None
    return sum(int(np.prod(spec.shape)) * int(spec.dtype.size) for spec in specs)


def _in_time(
    part: str, batches: Iterator[Arrays], most_seconds: float | None, now: Callable[[], float] = time.monotonic
) -> Iterator[Arrays]:
    """Yield batches, unless that takes too long; None for no limit.

    Raises:
        DataError: If they have not ended by then.
    """
    begin = now()
    for batch in batches:
        if most_seconds is not None and now() - begin > most_seconds:
            raise DataError(
                f"A dataset that does not tell its length is read for {most_seconds:g} seconds; the {part} dataset has "
                "not ended by then. Tell the length: .apply(tf.data.experimental.assert_cardinality(n))."
            )
        yield batch
