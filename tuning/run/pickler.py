"""Pickles what a user brings for a worker of the same machine: functions by value, memory maps by their files."""

from __future__ import annotations

import collections
import io
from typing import Any, ClassVar

import cloudpickle
import numpy as np


def dumps(content: Any) -> bytes:
    """Return an object as bytes; what is in the user's script travels by value, a memory map as the name of its file.

    A source of rows may hold memory maps of any size. One that can be changed without its file, or that was cut in
    another way than along its first axis, travels by value, like any array.
    """
    with io.BytesIO() as file:
        _Pickler(file).dump(content)
        return file.getvalue()


def _reduce(array: np.memmap[Any, Any]) -> Any:
    whole = array
    while isinstance(whole.base, np.memmap):
        whole = whole.base
    if whole.filename is None or whole.mode not in ("r", "r+") or not array.flags.c_contiguous:
        return np.asarray(array).__reduce_ex__(2)
    offset = whole.offset + array.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
    return _open, (str(whole.filename), array.dtype, offset, array.shape)


def _open(path: str, dtype: np.dtype[Any], offset: int, shape: tuple[int, ...]) -> np.memmap[Any, Any]:
    return np.memmap(path, dtype, "r", offset, shape)


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # it has no types
    dispatch_table: ClassVar = collections.ChainMap({np.memmap: _reduce}, cloudpickle.Pickler.dispatch_table)
