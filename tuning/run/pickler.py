"""Pickles what a user brings for a worker of the same machine: functions by value, memory maps by their files."""

from __future__ import annotations

import collections
import io
from typing import Any, ClassVar

import cloudpickle
import numpy as np

from search_spaces.array_files import FileRegion, region_of
from search_spaces.deferred import Deferred


def dumps(content: Any) -> bytes:
    """Return an object as bytes; what is in the user's script travels by value, a memory map as the name of its file.

    A source of rows may hold memory maps of any size.
    """
    with io.BytesIO() as file:
        _Pickler(file).dump(content)
        return file.getvalue()


def _reduce(array: np.memmap[Any, Any]) -> Any:
    region = region_of(array)
    return np.asarray(array).__reduce_ex__(2) if region is None else (FileRegion.open, (region,))


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # it has no types
    dispatch_table: ClassVar = collections.ChainMap(
        {np.memmap: _reduce, Deferred: Deferred.__reduce__}, cloudpickle.Pickler.dispatch_table
    )
