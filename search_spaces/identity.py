"""Identity: what tells whether data are those that a study began with."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from search_spaces.array_files import blocks_of, region_of
from search_spaces.stream import TrainingData
from search_spaces.structure import leaves
from search_spaces.values import sampled_blocks

MOST_BYTES_HASHED = 256 * 2**20
"""Of a larger array a sample of its rows stands for all; so many take a third of a second (measured)."""


def evidence(array: np.ndarray[Any, Any]) -> Iterator[bytes | memoryview]:
    """Yield what tells one array from another: shape and type, then all values.

    Of an array larger than `MOST_BYTES_HASHED`: when its file was last changed, if it lies in one, and rows spread over
    it. A change of other rows of such an array in memory stays unseen.
    """
    yield f"{array.shape}{array.dtype}".encode()
    if array.dtype == object:
        yield b"\0".join(value if isinstance(value, bytes) else str(value).encode() for value in array.ravel())
        return
    region = region_of(array)
    large = array.nbytes > MOST_BYTES_HASHED
    if large and region is not None:
        yield str(region.time_ns).encode()
    for block in sampled_blocks(array) if large else blocks_of(array):
        if block.size:
            yield np.ascontiguousarray(block).data.cast("B")


def fingerprint(data: TrainingData) -> str:
    """Return a short hash, which tells whether a study continues on the same data.

    It is of shapes, types and `data.identity`, or without that of the values, of large arrays a sample
    (`evidence`); of a stream, of its identity alone.
    """
    digest = hashlib.blake2b(data.identity.encode(), digest_size=8)
    for part, arrays in data.parts().items():
        for leaf in leaves(arrays):
            digest.update(part.encode())
            for piece in [f"{leaf.shape}{leaf.dtype}".encode()] if data.identity else evidence(leaf):
                digest.update(piece)
    return digest.hexdigest()
