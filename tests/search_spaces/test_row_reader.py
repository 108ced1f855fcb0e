import os
from pathlib import Path

import numpy as np
import pytest

from search_spaces.array_files import LEAST_BYTES_IN_PLACE
from search_spaces.row_reader import RowReader

PICKED = np.array([5, 0, 5, 1023, 77], "int32")


def mapped(folder: Path, shape: tuple[int, ...], order: str = "C") -> np.memmap:
    rows = np.lib.format.open_memmap(folder / "x.npy", "w+", "float32", shape, fortran_order=order == "F")
    rows[:] = np.arange(np.prod(shape), dtype="float32").reshape(shape)
    rows.flush()
    return np.load(folder / "x.npy", mmap_mode="r")


@pytest.mark.parametrize("shape", [(1100, 64, 64), (1100, 4096), (1 << 20, 5), (1 << 23,)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_rows_are_read_as_indexing_would(tmp_path: Path, shape: tuple[int, ...], order: str) -> None:
    array = mapped(tmp_path, shape, order)
    assert array.nbytes >= LEAST_BYTES_IN_PLACE
    for part in (array, array[60:]):
        found = RowReader(part)(PICKED)
        np.testing.assert_array_equal(found, part[PICKED])
        assert not np.shares_memory(found, part)
    np.testing.assert_array_equal(RowReader(np.asarray(array[:1030]).copy())(PICKED), array[PICKED])


def test_large_rows_are_read_without_the_map_and_the_file_is_closed_with_its_reader(tmp_path: Path) -> None:
    array = mapped(tmp_path, (1100, 4096))
    open_before = len(os.listdir("/proc/self/fd"))
    reader = RowReader(array)
    assert len(os.listdir("/proc/self/fd")) == open_before + 1
    (tmp_path / "x.npy").write_bytes((tmp_path / "x.npy").read_bytes()[: 128 + 4 * 4096 * 6])
    assert reader(np.array([5]))[0, -1] == 6 * 4096 - 1
    with pytest.raises(OSError, match="must stay as it was"):  # through the map this process would die
        reader(np.array([6]))
    del reader
    assert len(os.listdir("/proc/self/fd")) == open_before
