"""Functions that make examples of their keys: what they are given, and which are refused."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

from search_spaces.data import Data, DataError
from search_spaces.loading import Reading, call, takes_seed

KEYS = np.arange(4)


class Callable:
    def __call__(self, x: Any, y: Any, seed: Any) -> Any:
        return x, y, seed


def keyed(**loads: Any) -> Data:
    return Data(KEYS, KEYS, KEYS, KEYS, **loads)


@pytest.mark.parametrize(
    ("load", "n_keys", "expected"),
    [
        (lambda x, y: (x, y), 2, ("x", "y")),
        (lambda x, y, seed: (x, y, seed), 2, ("x", "y", "s")),
        (lambda x, y, rng: (x, y, rng), 2, ("x", "y", "s")),
        (lambda x, y, *, seed=None: (x, y, seed), 2, ("x", "y", "s")),
        (lambda x, y, size=3: (x, y, size), 2, ("x", "y", 3)),
        (partial(lambda size, x, y, seed: (size, x, y, seed), 3), 2, (3, "x", "y", "s")),
        (Callable(), 2, ("x", "y", "s")),
        (lambda x: x, 1, "x"),
        (lambda x, seed: (x, seed), 1, ("x", "s")),
        (max, 2, "y"),
    ],
)
def test_a_function_gets_its_keys_and_a_seed_where_it_takes_one(load: Any, n_keys: int, expected: Any) -> None:
    assert call(load, ("x", "y")[:n_keys], "s") == expected


def test_a_reading_takes_a_seed_where_its_second_step_does() -> None:
    read = {0: ("a", "b")}.get
    assert not takes_seed(Reading(read), 1)
    assert not takes_seed(Reading(read, lambda x, y: x, n_parts=2), 1)
    augment = Reading(read, lambda x, y, seed: (x + y, seed), n_parts=2)
    assert takes_seed(augment, 1)
    assert call(augment, (0,), "s") == ("ab", "s")
    assert call(Reading({0: "a"}.get, lambda item: item * 2), (0,), "s") == "aa"


def test_validation_examples_are_loaded_alike_unless_told_otherwise() -> None:
    def load(x: Any, y: Any) -> Any:
        return x, y

    def read(x: Any, y: Any) -> Any:
        return x, y

    assert keyed(load=load).load_val is load
    assert keyed(load=load, load_val=read).load_val is read
    assert keyed().load_val is None


@pytest.mark.parametrize(
    ("loads", "message"),
    [
        ({"load": lambda x, y, seed: x}, "must not depend on a seed; got load with one"),
        ({"load": lambda x, y: x, "load_val": lambda x, y, seed: x}, "must not depend on a seed; got load_val"),
        ({"load_val": lambda x, y: x}, "got load_val alone"),
        ({"load": "read"}, "load must be a function that makes one example of its keys; got 'read'"),
    ],
)
def test_what_would_make_validation_unfair_is_refused(loads: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        keyed(**loads)
