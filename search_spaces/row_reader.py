"""RowReader: reads some rows of an array, from its file where it lies in one."""

from __future__ import annotations

import os
import weakref
from typing import Any

import numpy as np
import numpy.typing as npt

from search_spaces.array_files import LEAST_BYTES_IN_PLACE, FileRegion, region_of, release

_LEAST_ROW_BYTES = 4096
"""Rows of a page or more are read one by one, smaller ones through the map: a call takes longer than copying a page."""


class RowReader:
    """Reads rows in any order, without keeping a file's pages as memory of this process.

    A map would read 128 KiB around every page that is touched first, or each page of a row by itself: of a large file
    on a disk, in an order without order, either is many times the work of reading exactly the rows.

    Args:
        array: Of any kind; a large one that lies in a file is read there.
    """

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self._array = array
        region = region_of(array) if array.nbytes >= LEAST_BYTES_IN_PLACE else None
        self._is_mapped = region is not None
        self._file = _opened(self, region) if region is not None and _suits(region) else None
        self._offset = 0 if region is None else region.offset

    def __call__(self, rows: npt.NDArray[np.integer[Any]]) -> np.ndarray[Any, Any]:
        """Return some rows, `(len(rows), ...)`, as an array of their own.

        Raises:
            OSError: If the file cannot be read, or has become shorter.
        """
        if self._file is None:
            found: np.ndarray[Any, Any] = self._array[rows]
            if self._is_mapped:
                release(self._array)
            return found
        found = np.empty((len(rows), *self._array.shape[1:]), self._array.dtype)
        items = found.reshape(len(rows), -1).view(np.uint8)
        for item, row in zip(items, rows.tolist(), strict=True):
            _fill(item, self._file, self._offset + row * items.shape[1])
        return found


def _suits(region: FileRegion) -> bool:
    return region.order == "C" and len(region.shape) > 1 and _row_bytes(region) >= _LEAST_ROW_BYTES


def _row_bytes(region: FileRegion) -> int:
    return int(np.prod(region.shape[1:])) * region.dtype.itemsize


def _opened(owner: RowReader, region: FileRegion) -> int:
    """Return a descriptor of the file that is closed with its owner; nothing is read ahead."""
    descriptor = os.open(region.path, os.O_RDONLY)
    weakref.finalize(owner, os.close, descriptor)
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
    return descriptor


def _fill(item: npt.NDArray[np.uint8], descriptor: int, offset: int) -> None:
    done = 0
    while done < len(item):
        count = os.preadv(descriptor, [item[done:].data], offset + done)
        if not count:
            raise OSError(f"The file of an array must stay as it was; it ends before byte {offset + len(item)}.")
        done += count
