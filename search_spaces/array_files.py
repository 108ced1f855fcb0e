"""Arrays that lie in files: memory maps and stored members of `.npz` archives, used where they lie."""

from __future__ import annotations

import logging
import mmap
import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from search_spaces.structure import told_bytes

LEAST_BYTES_IN_PLACE = 16 * 2**20
"""Smaller arrays are read and copied: that costs nothing, and whoever overwrites the file disturbs nobody."""

_LOG = logging.getLogger(__name__)
_LOCAL_HEADER = struct.Struct("<26xHH")  # of a member of a zip archive: the lengths of its name and of its extra field


@dataclass(frozen=True)
class FileRegion:
    """Where in a file an array lies, in one piece.

    Args:
        path: The file.
        offset: Bytes before the array.
        shape: Of the array.
        dtype: Its type.
        order: "C" or "F", how its items follow each other.
    """

    path: Path
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    order: str = "C"

    def open(self) -> np.memmap[Any, Any]:
        """Return the array as a read-only memory map.

        Raises:
            OSError: If the file is gone.
            ValueError: If it has become too short.
        """
        order: Any = self.order
        return np.memmap(self.path, self.dtype, "r", self.offset, self.shape, order)

    @property
    def time_ns(self) -> int:
        """When the file was last changed."""
        return self.path.stat().st_mtime_ns


def region_of(array: np.ndarray[Any, Any]) -> FileRegion | None:
    """Return where an array lies, if that is a file that others can map and see the same values.

    None for arrays in memory, for parts of a map whose items do not lie in one piece, for maps whose changes are not
    written to the file (mode "c"), and where the file has been removed or cut since.
    """
    root = _root(array)
    if root is None or root.mode == "c" or root.filename is None or not array.flags.forc or not array.size:
        return None
    order = "C" if array.flags.c_contiguous else "F"
    offset = root.offset + _address(array) - _address(root)
    if root.mode != "r":
        root.flush()  # so that the file has its last time before anybody asks for that
    path = Path(root.filename).resolve()
    if not path.exists() or path.stat().st_size < offset + array.nbytes:
        return None
    return FileRegion(path, offset, array.shape, array.dtype, order)


def release(array: np.ndarray[Any, Any]) -> None:
    """Let the system take back the pages of a mapped file that have been read; they count as this process's memory."""
    root = _root(array)
    if root is not None and root.mode != "c" and isinstance(root.base, mmap.mmap):
        root.base.madvise(mmap.MADV_DONTNEED)


def blocks_of(array: np.ndarray[Any, Any], block_bytes: int = 32 * 2**20) -> Iterator[np.ndarray[Any, Any]]:
    """Yield an array in blocks of rows, releasing what was read of a file."""
    rows = max(1, block_bytes * len(array) // max(1, array.nbytes))
    for begin in range(0, len(array), rows):
        yield array[begin : begin + rows]
        release(array)


def stored_region(path: Path, member: zipfile.ZipInfo) -> FileRegion | None:
    """Return where a member of an `.npz` archive lies; None if it is small, or compressed, which is noted.

    Args:
        path: The archive.
        member: An array without Python objects, whose header is right.
    """
    if member.file_size < LEAST_BYTES_IN_PLACE:
        return None
    if member.compress_type != zipfile.ZIP_STORED:
        _LOG.warning(
            f"{member.filename} of {path} is compressed and is read into memory, {told_bytes(member.file_size)}; "
            "numpy.savez stores arrays so that they can be used where they lie."
        )
        return None
    with path.open("rb") as file:
        file.seek(member.header_offset)
        file.seek(sum(_LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))), 1)
        is_first = npy.read_magic(file) == (1, 0)
        shape, fortran, dtype = (npy.read_array_header_1_0 if is_first else npy.read_array_header_2_0)(file)
        return FileRegion(path, file.tell(), shape, dtype, "F" if fortran else "C")


def _root(array: np.ndarray[Any, Any]) -> np.memmap[Any, Any] | None:
    """Return the memory map that an array is a part of."""
    base: Any = array
    while isinstance(base, np.ndarray):
        if isinstance(base, np.memmap) and isinstance(base.base, mmap.mmap):
            return base
        base = base.base
    return None


def _address(array: np.ndarray[Any, Any]) -> int:
    return int(array.__array_interface__["data"][0])
