"""Which example a training failed on: TensorFlow's error of an image that cannot be decoded names no file."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from search_spaces.data import leaves
from tuning.loops.arrays import TrainingArrays
from tuning.loops.order import ExampleOrder

_AT_ONCE = 64
_SECONDS = 5.0  # enough for 20,000 small images
_LONGEST_KEY = 120


def broken_example(arrays: TrainingArrays, seed: int, now: Callable[[], float] = time.perf_counter) -> str:
    """Return the first example that cannot be loaded, such as `x_train[5], 'day/5.png'`, in the order of a training.

    It is looked for during 5 seconds, among the training examples first.

    Args:
        arrays: The keys, and what loads them.
        seed: The training's, which orders its examples.
        now: The clock, in seconds.

    Returns:
        Empty where none is found.
    """
    end = now() + _SECONDS
    order = ExampleOrder(arrays.n_train, 1, seed).rows(0).ravel()
    for name, keys, load, rows in (
        ("x_train", arrays.train, arrays.training_batch, order),
        ("x_val", arrays.validation, arrays.validation_batch, np.arange(arrays.n_val)),
    ):
        for start in range(0, len(rows), _AT_ONCE):
            if now() > end:
                return ""
            row = _first_broken(load, rows[start : start + _AT_ONCE])
            if row is not None:
                return f"{name}[{row}], {_told(next(leaves(keys[0]))[row])}"
    return ""


def _first_broken(load: Callable[[npt.NDArray[Any]], Any], rows: npt.NDArray[Any]) -> int | None:
    if _loads(load, rows):
        return None
    return next((int(row) for row in rows if not _loads(load, np.array([row]))), None)


def _loads(load: Callable[[npt.NDArray[Any]], Any], rows: npt.NDArray[Any]) -> bool:
    try:
        load(rows)
    except Exception:  # whatever loading raises
        return False
    return True


def _told(key: Any) -> str:
    text = repr(os.fsdecode(key)) if isinstance(key, bytes) else repr(getattr(key, "tolist", lambda: key)())
    return text if len(text) <= _LONGEST_KEY else text[: _LONGEST_KEY - 1] + "…"
