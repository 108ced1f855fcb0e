"""Sources: whatever has a length and gives the example of a number, read when it is needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from search_spaces.data import Data, DataError
from search_spaces.loading import Load, Reading


@dataclass(frozen=True)
class ItemReader:
    """Reads the items of a source by their numbers.

    Args:
        source: Has `__getitem__`.
    """

    source: Any

    def __call__(self, number: Any) -> Any:
        """Return an item."""
        return self.source[int(number)]


def read_source(
    train: Any,
    validation: Any = None,
    *,
    validation_split: float | None = None,
    load: Load | None = None,
    load_val: Load | None = None,
) -> Data:
    """See `Data.from_source`."""
    if (validation is None) == (validation_split is None):
        got = "neither" if validation is None else "both"
        raise DataError(f"A source is validated on another one or on a validation_split of itself; got {got}.")
    n_parts = _checked("training", train, load)
    reading = Reading(ItemReader(train), load, n_parts)
    if validation is None:
        assert validation_split is not None
        reading_val = Reading(ItemReader(train), load if load_val is None else load_val, n_parts)
        numbers = Data.split(np.arange(len(train)), None, validation_split)
        return Data(numbers.x_train, None, numbers.x_val, None, load=reading, load_val=reading_val)
    then = load if load_val is None else load_val
    reading_val = Reading(ItemReader(validation), then, _checked("validation", validation, then))
    return Data(np.arange(len(train)), None, np.arange(len(validation)), None, load=reading, load_val=reading_val)


def _checked(part: str, source: Any, load: Load | None) -> int:
    """Return the parts of a source's items.

    Raises:
        DataError: If it is no source of single examples, or has none, or its items are no examples.
    """
    if any(kind.__name__ == "PyDataset" and kind.__module__.startswith("keras.") for kind in type(source).__mro__):
        raise DataError(f"A source gives single examples; the {part} one is a PyDataset, which gives batches.")
    if not hasattr(source, "__len__") or not hasattr(source, "__getitem__"):
        raise DataError(
            f"A source must have __len__ and __getitem__; the {part} one is {type(source).__name__}. Wrap it in a "
            "class that has, or make an array of it."
        )
    if not len(source):
        raise DataError(f"A source must hold at least one example; the {part} one is empty.")
    try:
        item = source[0]
    except Exception as error:
        raise DataError(
            f"A source must give the example of a number; item 0 of the {part} one raised {type(error).__name__}: "
            f"{error!s:.100}. Wrap it in a class whose __getitem__ takes numbers."
        ) from error
    if load is None and isinstance(item, Mapping):
        raise DataError(
            f"An example is (x, y), (x, y, sample_weight) or x alone; items of the {part} source are a mapping with "
            f"{', '.join(map(str, item))}. Give load, such as load=lambda item: (item['image'], item['label'])."
        )
    return len(item) if isinstance(item, tuple) else 1
