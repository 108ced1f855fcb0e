"""How a `load` function is called: which of its parameters are keys, and whether it takes a seed."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Reading:
    """A `load` in two steps: a read that only Python can do, and a function that TensorFlow may trace.

    Args:
        read: Takes the key of an example, and returns an item: an array, or a tuple, list or dict of them.
        then: Makes the example of the item, perhaps with a seed: an item that is a tuple comes as its parts. None where
            the item is the example.
        n_parts: The parts of an item that is a tuple; 1 for any other.
    """

    read: Callable[[Any], Any]
    then: Callable[..., Any] | None = None
    n_parts: int = 1

    def __call__(self, key: Any, seed: Any = None) -> Any:
        """Return the example of a key."""
        return self.finish(self.read(key), seed)

    def finish(self, item: Any, seed: Any) -> Any:
        """Return the example that is made of an item."""
        parts = item if isinstance(item, tuple) else (item,)
        return item if self.then is None else call(self.then, parts, seed)


Load = Callable[..., Any] | Reading
"""`load(x)`, `load(x, seed)`, `load(x, y)` or `load(x, y, seed)`: makes one example of its keys."""


def takes_seed(load: Load, n_keys: int) -> bool:
    """Return whether a function wants a seed beside its keys: as `seed`, or as one more argument that it requires.

    Args:
        load: The function.
        n_keys: 1 where it gets inputs alone, 2 where it gets targets, too.
    """
    if isinstance(load, Reading):
        return load.then is not None and takes_seed(load.then, load.n_parts)
    return _names_seed(load) or _required(load) > n_keys


def call(load: Load, keys: Sequence[Any], seed: Any) -> Any:
    """Return what a function makes of the keys of one example.

    Args:
        load: The function.
        keys: `(x,)` or `(x, y)`.
        seed: `(2,) int32`, not negative; dropped where the function takes none.
    """
    if isinstance(load, Reading):
        return load(keys[0], seed)
    if not takes_seed(load, len(keys)):
        return load(*keys)
    return load(*keys, seed=seed) if _names_seed(load) else load(*keys, seed)


def _names_seed(load: Callable[..., Any]) -> bool:
    return any(each.name == "seed" and each.kind != each.POSITIONAL_ONLY for each in _parameters(load))


def _required(load: Callable[..., Any]) -> int:
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(each.kind in positional and each.default is each.empty for each in _parameters(load))


def _parameters(load: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(load).parameters.values())
    except (TypeError, ValueError):  # a callable without a signature, such as some of C's
        return []
