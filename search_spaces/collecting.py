"""Collecting: batches of examples become whole arrays, within bounds; a second pass tells whether they are random."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from search_spaces.array_forms import IN_PLACE, MOST_BYTES, read_arrays
from search_spaces.structure import Arrays, DataError, leaves, map_arrays, told_bytes

EXAMPLES_READ_AGAIN = 1024
"""How many examples of a second pass are looked for among those of the first."""

_MOST_ROOM_BYTES = 64 * 2**20  # so much more than is needed is held at most; the system moves no memory to make room
_OBJECT_BYTES = 64  # a string's head, and the reference to it


class Collector:
    """Appends batches to arrays that grow.

    Args:
        part: "training" or "validation", for errors.
        most_bytes: What the arrays may take.
    """

    def __init__(self, part: str, most_bytes: int = MOST_BYTES) -> None:
        self.part, self._most_bytes = part, most_bytes
        self._structure: Arrays = None
        self._columns: list[_Column] = []
        self._hashes: list[npt.NDArray[np.uint64]] = []

    def add(self, batch: Arrays, expected: int | None = None) -> None:
        """Append the examples of a batch, leaves `(examples, ...)` in the structure of the first batch.

        Args:
            batch: Its leaves are equally long.
            expected: The number of all examples, if it is known, so that too many are refused at the first batch.

        Raises:
            DataError: If the examples are not of one shape, or too many.
        """
        arrays = list(leaves(batch))
        if not self._columns:
            self._structure = batch
            self._columns = [_Column(array) for array in arrays]
        if len(arrays) != len(self._columns) or not all(map(_Column.takes, self._columns, arrays)):
            told = ", ".join(str(array.shape[1:]) for array in arrays)
            raise DataError(
                f"The {self.part} examples must have one shape and type; got {told} after "
                f"{', '.join(str(column.shape) for column in self._columns)}. Pad or crop them to one shape."
            )
        self._hashes.append(row_hashes(batch))
        held = sum(column.nbytes_with(array) for column, array in zip(self._columns, arrays, strict=True))
        self.check_bytes(held if expected is None else max(held, held * expected // max(1, self.count)), expected)
        for column, array in zip(self._columns, arrays, strict=True):
            column.append(array)

    def check_bytes(self, size: int, expected: int | None) -> None:
        """Refuse examples that take more than they may.

        Args:
            size: Bytes of as many as are known of.
            expected: How many that is, if these are all.

        Raises:
            DataError: If they take more.
        """
        if size > self._most_bytes:
            length = "more than that" if expected is None else f"{expected} examples, {told_bytes(size)}"
            raise DataError(
                f"The {self.part} examples are collected into memory, which may take {told_bytes(self._most_bytes)}; "
                f"got {length}. Load them when they are needed (Data(..., load=...), or a Stream), or write them to "
                f"{IN_PLACE}."
            )

    @property
    def count(self) -> int:
        """Number of examples so far."""
        return sum(map(len, self._hashes))

    def arrays(self) -> Arrays:
        """Return everything, `(count, ...)`, in the structure of the batches."""
        columns = iter(self._columns)
        return map_arrays(lambda _: next(columns).whole(), self._structure)

    def sorted_arrays(self) -> Arrays:
        """Return everything in an order that depends on the examples alone, not on that in which they came."""
        order = np.argsort(self._all_hashes(), kind="stable")
        return map_arrays(lambda array: _reorder(array, order), self.arrays())

    def compare(self, again: Iterable[Arrays]) -> tuple[bool, bool]:
        """Read again, and return whether the order and whether the examples are the same, as far as that was read.

        Args:
            again: The batches of a second pass.
        """
        first, read, same_order = self._all_hashes(), 0, True
        known = np.sort(first)
        for batch in again:
            found = row_hashes(batch)
            places = np.searchsorted(known, found).clip(max=len(known) - 1)
            if not (known[places] == found).all():
                return False, False
            same_order = same_order and np.array_equal(found, first[read : read + len(found)])
            read += len(found)
            if read >= EXAMPLES_READ_AGAIN:
                break
        return same_order, True

    def _all_hashes(self) -> npt.NDArray[np.uint64]:
        return np.concatenate(self._hashes)


class _Column:
    """One array that grows by a quarter or by 64 MiB at a time."""

    def __init__(self, first: np.ndarray[Any, Any]) -> None:
        self.shape, self.dtype = first.shape[1:], first.dtype
        self._array = np.empty((0, *self.shape), self.dtype)
        self._count = self._text_bytes = 0

    def takes(self, array: np.ndarray[Any, Any]) -> bool:
        return bool(array.shape[1:] == self.shape and array.dtype == self.dtype)

    def nbytes_with(self, array: np.ndarray[Any, Any]) -> int:
        """Bytes after an array is appended."""
        rows = self._count + len(array)
        return rows * int(np.prod(self.shape)) * self._array.itemsize + self._text_bytes + _text_bytes(array)

    def append(self, array: np.ndarray[Any, Any]) -> None:
        end = self._count + len(array)
        if end > len(self._array):
            row_bytes = max(1, int(np.prod(self.shape)) * self.dtype.itemsize)
            self._resize(end + min(end // 4, _MOST_ROOM_BYTES // row_bytes))
        self._array[self._count : end] = array
        self._count = end
        self._text_bytes += _text_bytes(array)

    def whole(self) -> np.ndarray[Any, Any]:
        self._resize(self._count)
        return self._array

    def _resize(self, rows: int) -> None:
        self._array.resize((rows, *self.shape), refcheck=False)


def _text_bytes(array: np.ndarray[Any, Any]) -> int:
    return sum(_OBJECT_BYTES + len(value) for value in array.ravel()) if array.dtype == object else 0


def _reorder(array: np.ndarray[Any, Any], order: npt.NDArray[np.intp]) -> np.ndarray[Any, Any]:
    """Put the rows of an array into another order in its place, a few columns at a time, and return it."""
    rows = array.reshape(len(array), -1)
    step = max(1, rows.shape[1] // 16)
    for begin in range(0, rows.shape[1], step):
        columns = slice(begin, begin + step)
        rows[:, columns] = rows[order, columns]
    return array


def row_hashes(batch: Arrays) -> npt.NDArray[np.uint64]:
    """Return a number for each example of a batch, `(examples,) uint64`; equal examples have equal numbers.

        h = sum_i w_i mixed(x_i) mod 2^64

    over the 8-byte words x of an example, with fixed odd random w. Mixing spreads the high bits of a word, such as the
    signs of numbers, over all of them: those alone would cancel each other out in the sum.

    Source: Dietzfelbinger, Hagerup, Katajainen and Penttonen 1997, "A reliable randomized algorithm for the
    closest-pair problem", hashing by odd multipliers; words are mixed as by the first half of degski64.
    """
    arrays = list(leaves(batch))
    total = np.zeros(len(arrays[0]), np.uint64)
    for index, array in enumerate(arrays):
        total = total * np.uint64(0x9E3779B97F4A7C15) + _hashes_of(array, index)
    return total


def _hashes_of(array: np.ndarray[Any, Any], index: int) -> npt.NDArray[np.uint64]:
    rows = array.reshape(len(array), -1)
    if array.dtype == object:
        words = np.array([[_hash_of(value) for value in row] for row in rows], np.uint64).reshape(rows.shape)
    else:
        words = _words(rows)
    mixed = (words ^ (words >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)
    hashed: npt.NDArray[np.uint64] = (mixed ^ (mixed >> np.uint64(32))) @ _multipliers(words.shape[1], index)
    return hashed


def _words(rows: np.ndarray[Any, Any]) -> npt.NDArray[np.uint64]:
    """Return rows as words of 8 bytes, the last filled up with zeros."""
    flat = np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), -1)
    return np.pad(flat, ((0, 0), (0, -flat.shape[1] % 8))).view(np.uint64)


def _hash_of(value: Any) -> int:
    data = value if isinstance(value, bytes) else str(value).encode()
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


@functools.lru_cache(maxsize=16)
def _multipliers(count: int, index: int) -> npt.NDArray[np.uint64]:
    drawn = np.random.default_rng([index, count]).integers(0, 2**63, count, dtype=np.uint64)
    return drawn * np.uint64(2) + np.uint64(1)


def as_batch(part: str, element: Any) -> tuple[Arrays, ...]:
    """Return what a dataset yields as `(x,)`, `(x, y)` or `(x, y, sample_weight)`, as Keras's `fit` reads it.

    Raises:
        DataError: If it is no such tuple, or a leaf is no array.
    """
    if not isinstance(element, tuple):
        element = (element,)
    if not 1 <= len(element) <= 3 or element[0] is None:
        raise DataError(
            f"The {part} dataset must yield x, (x, y) or (x, y, sample_weight); got a tuple of {len(element)}. Several "
            "inputs go into a dict or a tuple."
        )
    batch = [read_arrays(name, value) for name, value in zip(("x", "y", "sample_weight"), element, strict=False)]
    while batch[-1] is None:
        batch.pop()
    return tuple(batch)


def as_parts(arrays: tuple[Arrays, ...]) -> tuple[Arrays, Arrays, Arrays]:
    """Return inputs, targets and weights, None where there are none."""
    x, y, weight = (*arrays, None, None)[:3]
    return x, y, weight


def has_equal_lengths(batch: Mapping[Any, Any] | tuple[Any, ...]) -> bool:
    """Return whether all leaves of a batch have a first axis, and as long."""
    return all(leaf.ndim for leaf in leaves(batch)) and len({len(leaf) for leaf in leaves(batch)}) == 1
