"""A study's arrays as files that any number of workers map into memory, and the fingerprint of their content."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from search_spaces.data import Data, leaves, map_arrays

_STRUCTURE = "structure.pickle"


def write_data(data: Data, directory: Path) -> None:
    """Write every array to `directory` as `.npy`, and how they nest beside them."""
    directory.mkdir(parents=True, exist_ok=True)
    names = (f"{number}.npy" for number in range(10**9))

    def write(array: np.ndarray[Any, Any]) -> str:
        name = next(names)
        np.save(directory / name, array, allow_pickle=False)
        return name

    structure = {part: map_arrays(write, arrays) for part, arrays in data.parts().items()}
    (directory / _STRUCTURE).write_bytes(pickle.dumps(structure))


def read_data(directory: Path) -> Data:
    """Return the data that `write_data` wrote, as read-only memory maps."""
    structure = pickle.loads((directory / _STRUCTURE).read_bytes())

    def read(name: str) -> np.ndarray[Any, Any]:
        loaded: np.ndarray[Any, Any] = np.load(directory / name, mmap_mode="r")
        return loaded

    return Data(**{part: map_arrays(read, names) for part, names in structure.items()})


def fingerprint(data: Data) -> str:
    """Return a short hash of shapes, dtypes and values, which tells whether a study continues on the same data."""
    digest = hashlib.blake2b(digest_size=8)
    for part, arrays in data.parts().items():
        for leaf in leaves(arrays):
            digest.update(f"{part}{leaf.shape}{leaf.dtype}".encode())
            digest.update(np.ascontiguousarray(leaf).data.cast("B") if leaf.size else b"")
    return digest.hexdigest()
