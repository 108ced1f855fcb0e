"""Structures of arrays: one array, or a dict, tuple or list of them, nested, as Keras takes them as `x` or `y`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

_GRAPH_NODE = re.compile(r"\{\{.*?\}\}")  # "{{function_node ...}}", with which TensorFlow begins its messages

Arrays = Any
"""One array, or a dict, tuple or list of them (nested): what Keras takes as `x` or `y`."""


class DataError(ValueError):
    """Data that cannot be trained on; the message is one line with the rule, the value and the way out."""


def map_arrays(function: Callable[[Any], Any], arrays: Arrays) -> Arrays:
    """Apply `function` to every leaf of a nested dict, tuple or list of arrays; None stays None."""
    if arrays is None:
        return None
    if isinstance(arrays, Mapping):
        return {name: map_arrays(function, value) for name, value in arrays.items()}
    if isinstance(arrays, tuple):
        return tuple(map_arrays(function, value) for value in arrays)
    if isinstance(arrays, list) and all(isinstance(value, (np.ndarray, Mapping)) for value in arrays):
        return [map_arrays(function, value) for value in arrays]
    return function(arrays)


def leaves(arrays: Arrays) -> Iterator[np.ndarray[Any, Any]]:
    """Every array of a nested dict, tuple or list, in a fixed order."""
    if isinstance(arrays, Mapping):
        for value in arrays.values():
            yield from leaves(value)
    elif isinstance(arrays, (tuple, list)):
        for value in arrays:
            yield from leaves(value)
    elif arrays is not None:
        yield arrays


def told_bytes(count: float) -> str:
    """Return a number of bytes for people: "3.2 GiB", "12 MiB", "800 bytes"."""
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.0f} bytes"


def one_line(error: BaseException, length: int = 160) -> str:
    """Return an error's type and message in one line of bounded length, with a full stop."""
    text = " ".join(f"{type(error).__name__}: {re.sub(_GRAPH_NODE, '', str(error))}".split())
    return f"{text[:length].rstrip('.')}."


def type_name(given: object) -> str:
    """Return the type of a value as a short name with its package."""
    kind = type(given)
    package = kind.__module__.partition(".")[0]
    return kind.__name__ if package in ("builtins", "__main__") else f"{package}.{kind.__name__}"
