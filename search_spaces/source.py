"""Sources: whatever has a length and gives the example of a number, read when it is needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from search_spaces.loading import Load, Reading
from search_spaces.structure import DataError


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
) -> dict[str, Any]:
    """Return the arguments of `Data`, see `Data.from_source`."""
    if (validation is None) == (validation_split is None):
        got = "neither" if validation is None else "both"
        raise DataError(f"A source is validated on another one or on a validation_split of itself; got {got}.")
    then = load if load_val is None else load_val
    n_parts = _checked("training", train, load)
    numbers = numbers_val = np.arange(len(train))
    if validation_split is None:
        n_parts_val = _checked("validation", validation, then)
        numbers_val = np.arange(len(validation))
    else:
        validation, n_parts_val = train, n_parts
        numbers, numbers_val = _split(numbers, validation_split)
    return {
        "x_train": numbers,
        "y_train": None,
        "x_val": numbers_val,
        "y_val": None,
        "load": Reading(ItemReader(train), load, n_parts),
        "load_val": Reading(ItemReader(validation), then, n_parts_val),
    }


def _split(numbers: npt.NDArray[Any], share: float) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Split off the last ones, as Keras's `validation_split` does."""
    at = int(len(numbers) * (1 - share)) if 0 < share < 1 else 0
    if not 0 < at < len(numbers):
        raise DataError(
            f"validation_split must lie between 0 and 1 and leave both parts examples; got {share} of {len(numbers)}."
        )
    return numbers[:at], numbers[at:]


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
