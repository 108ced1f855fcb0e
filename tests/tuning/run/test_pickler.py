"""Memory maps travel as the names of their files, everything else as cloudpickle has it."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tuning.run.pickler import dumps


class Rows:
    """A source that holds a memory map."""

    def __init__(self, rows: Any) -> None:
        self.rows = rows


@pytest.fixture
def path(tmp_path: Path) -> Path:
    np.save(tmp_path / "rows.npy", np.arange(60_000).reshape(-1, 3))
    return tmp_path / "rows.npy"


@pytest.mark.parametrize("part", [slice(None), slice(10, 5000), slice(-7, None)])
def test_a_memory_map_travels_by_its_file(path: Path, part: slice) -> None:
    rows = np.load(path, mmap_mode="r")[part]
    travelled = dumps(Rows(rows))
    assert len(travelled) < 1000
    found = pickle.loads(travelled).rows
    np.testing.assert_array_equal(found, rows)
    assert isinstance(found, np.memmap)


@pytest.mark.parametrize(
    "cut", [lambda path: np.load(path, mmap_mode="r")[:9, 1:], lambda path: np.load(path, mmap_mode="c")[:9]]
)
def test_what_its_file_does_not_hold_as_it_is_travels_by_value(path: Path, cut: Any) -> None:
    rows = cut(path)
    if rows.flags.writeable:
        rows[0] = 7
    np.testing.assert_array_equal(pickle.loads(dumps(rows)), rows)


def test_functions_of_a_script_travel_by_value() -> None:
    assert pickle.loads(dumps(lambda x: x + 1))(2) == 3
