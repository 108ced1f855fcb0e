"""Values: what an array must not hold, looked for once, in all rows or, of large arrays, in rows spread over them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np

from search_spaces.array_files import blocks_of, release
from search_spaces.structure import DataError, told_bytes, type_name

_LOG = logging.getLogger(__name__)

MOST_BYTES_READ = 2**30
"""Larger arrays are sampled: a pass over 100 GB would take minutes."""

SAMPLED_ROWS = 4096
"""How many rows of a large array are looked at, in blocks, so that a disk reads them one after the other."""

_SAMPLED_BYTES = 128 * 2**20  # rows of large examples, fewer of them
_BLOCKS = 64


def check_values(name: str, array: np.ndarray[Any, Any]) -> None:
    """Look for values that cannot be trained on.

    Args:
        name: The array's name, for errors.
        array: Any array; one of more than `MOST_BYTES_READ` is sampled, which is noted.

    Raises:
        DataError: If a value is NaN or, of an array of objects, no string.
    """
    if array.dtype == object:
        _check_objects(name, array)
    elif array.dtype.kind == "f":
        _check_numbers(name, array)


def sampled_blocks(array: np.ndarray[Any, Any]) -> Iterator[np.ndarray[Any, Any]]:
    """Yield blocks of rows spread evenly over an array, the first and the last rows among them, the same every time."""
    of_size = _SAMPLED_BYTES * len(array) // max(1, array.nbytes)
    rows = max(1, min(SAMPLED_ROWS, of_size) // _BLOCKS)
    for begin in np.linspace(0, len(array) - rows, _BLOCKS).astype(int):
        yield array[begin : begin + rows]
        release(array)


def _check_numbers(name: str, array: np.ndarray[Any, Any]) -> None:
    whole = array.nbytes <= MOST_BYTES_READ
    count = looked_at = 0
    for block in blocks_of(array) if whole else sampled_blocks(array):
        count += int(np.isnan(block).sum())
        looked_at += block.size
    if count:
        raise DataError(f"{name} must not hold NaN; got {count} of {looked_at} values. Impute or drop them.")
    if not whole:
        _LOG.warning(
            f"{name} takes {told_bytes(array.nbytes)}: NaN was looked for in {looked_at} values spread over it, not in "
            f"all {array.size}."
        )


def _check_objects(name: str, array: np.ndarray[Any, Any]) -> None:
    strange = [value for value in array.ravel() if not isinstance(value, (str, bytes))]
    if strange:
        value = None if any(value is None for value in strange) else strange[0]
        raise DataError(
            f"{name} must hold numbers or strings; got dtype object, {type_name(value)} in it. {_way_out(value)}"
        )


def _way_out(value: Any) -> str:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return "Fill in what is missing, or drop it."
    if isinstance(value, (list, tuple, np.ndarray)):
        return "Pad the examples to one shape and stack them: np.stack."
    return 'Give it a type: .astype("float32").'
