"""What a `tf.data.Dataset` is made of: the only place that knows TensorFlow's private names of datasets.

Every dataset keeps those that it reads from. Public attributes tell neither whether a dataset is batched nor, after
`filter` or `unbatch`, whether it ends. Names as in tensorflow 2.21; one that is not known tells nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Any

_BATCHING = ("Batch", "ParallelBatch", "PaddedBatch", "MapAndBatch", "Rebatch")
_UNBATCHING = ("Unbatch",)
_OPAQUE = ("FlatMap", "Interleave", "ParallelInterleave", "DirectedInterleave", "GroupByWindow", "Window", "Load")
"""Their elements are made by functions, or were saved: what those are, nothing here tells."""

_SHUFFLING = ("Shuffle",)
_OF_EACH = ("Map", "ParallelMap", "Filter", "Restructured", "Prefetch", "Options", "Cache", "Snapshot")
_OF_SEVERAL = ("Unbatch", "Rebatch", "Batch", "ParallelBatch", "PaddedBatch", "GroupByWindow", "Window")
_OF_ALL = ("Shuffle", "Take", "Skip", "Shard")
_FINITE_AS_ITS_INPUT = frozenset((*_OF_EACH, *_OF_SEVERAL, *_OF_ALL))
_FILES = ("TFRecord", "TextLine", "FixedLengthRecord")
_OF_EXAMPLES = ("TensorSlice", "SparseTensorSlice", "Range", "List", *_FILES)
"""What a chain begins with. What else may be there, such as one tensor, is a batch as well as an example."""


class Length(Enum):
    """How long a dataset is, as far as can be told without reading it."""

    FINITE = "finite"
    ENDLESS = "endless"
    UNKNOWN = "unknown"


def length_of(dataset: Any) -> Length:
    """Return whether a dataset ends."""
    count = int(dataset.cardinality())
    if count >= 0:
        return Length.FINITE
    if count == -1:  # tf.data.INFINITE_CARDINALITY
        return Length.ENDLESS
    kind, inputs = _kind(dataset), list(_inputs(dataset))
    if kind in _FILES:
        return Length.FINITE
    if kind not in _FINITE_AS_ITS_INPUT or len(inputs) != 1:
        return Length.UNKNOWN
    return length_of(inputs[0])


def is_batched(dataset: Any) -> bool | None:
    """Return whether the elements of a dataset are batches; None where its chain does not tell."""
    kind = _kind(dataset)
    if kind in _BATCHING:
        return True
    if kind in _UNBATCHING:
        return False
    if kind in _OPAQUE:
        return None
    found = [is_batched(each) for each in _inputs(dataset)]
    if not found and kind not in _OF_EXAMPLES:
        return None
    if True in found:
        return True
    return None if None in found else False


def is_shuffled(dataset: Any) -> bool:
    """Return whether anything in the chain of a dataset shuffles."""
    return _kind(dataset) in _SHUFFLING or any(map(is_shuffled, _inputs(dataset)))


def _kind(dataset: Any) -> str:
    return type(dataset).__name__.removeprefix("_").removesuffix("V2").removesuffix("V1").removesuffix("Dataset")


def _inputs(dataset: Any) -> Iterator[Any]:
    """Yield what a dataset reads from."""
    for name in ("_input_dataset", "_dataset_to_concatenate"):
        if getattr(dataset, name, None) is not None:
            yield getattr(dataset, name)
    yield from getattr(dataset, "_datasets", None) or ()
