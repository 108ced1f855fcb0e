"""Reads the arrays of an `.npz` archive, after their sizes: what does not fit into memory is refused unread."""

from __future__ import annotations

import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.lib import format as npy

from search_spaces.structure import DataError

_ENDING = ".npy"
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def check_file(path: Path) -> None:
    """Raise DataError unless a path leads to a file."""
    if path.is_dir():
        raise DataError(f"The data must be a file; got the directory {path}. Name a file in it.")
    if not path.is_file():
        raise DataError(f"The data file must exist; got {str(path)!r}. Check the path.")


def read_npz(path: Path, wanted: Collection[str]) -> tuple[dict[str, np.ndarray[Any, Any]], list[str]]:
    """Return the wanted arrays of an archive, and the names of all that it holds.

    Sizes are checked before memory is taken: a few kilobytes may unpack to many gigabytes, and a header may promise
    any number of values. Python objects are never unpickled.

    Args:
        path: The archive.
        wanted: Names of arrays; others are not read.

    Raises:
        DataError: If the file is missing or no such archive, an array holds Python objects or is not what its header
            says, or the arrays together need more memory than is available.
    """
    check_file(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = {
                info.filename.removesuffix(_ENDING): info
                for info in archive.infolist()
                if info.filename.endswith(_ENDING)
            }
            read = {name: info for name, info in members.items() if name in wanted}
            _check_memory(path, sum(info.file_size for info in read.values()))
            for name, info in read.items():
                _check_header(archive, info, f"{name} of {path}")
            return {name: _array(archive, info) for name, info in read.items()}, sorted(members)
    except DataError:
        raise
    except Exception as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"The data file must be an .npz archive of plain arrays; {path} cannot be read as one ({why:.120}). "
            "Write it with numpy.savez."
        ) from None


def _check_memory(path: Path, needed: int) -> None:
    available = psutil.virtual_memory().available
    if needed > available:
        raise DataError(
            f"The arrays of a data file must fit into memory; {path} unpacks to {needed / 2**30:.1f} GiB, and "
            f"{available / 2**30:.1f} GiB are available. Take fewer examples or a smaller dtype."
        )


def _check_header(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> None:
    """Refuse Python objects, and a header that promises other values than the member holds, which NumPy would trust."""
    with archive.open(info) as member:
        version = npy.read_magic(member)
        if version not in _HEADERS:
            raise DataError(f"{name} must be a plain array; got a table of named columns. Save each as an array.")
        shape, _, dtype = _HEADERS[version](member)
        held = info.file_size - member.tell()
    if dtype.hasobject:
        raise DataError(
            f"{name} must hold numbers or strings; got pickled Python objects, which are not loaded. "
            "Give the array a dtype before it is saved."
        )
    promised = int(np.prod([int(size) for size in shape], dtype=object)) * dtype.itemsize
    if promised != held:
        raise DataError(
            f"{name} must hold what its header says; got {held} bytes for shape {shape} of {dtype}, "
            f"which needs {promised}. The file is damaged; write it again."
        )


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray[Any, Any]:
    with archive.open(info) as member:
        found: np.ndarray[Any, Any] = npy.read_array(member, allow_pickle=False)
        return found
