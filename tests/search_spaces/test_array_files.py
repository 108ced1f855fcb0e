import logging
import zipfile
from pathlib import Path

import numpy as np
import pytest

from search_spaces import Data, DataError
from search_spaces.archive import read_npz
from search_spaces.array_files import LEAST_BYTES_IN_PLACE, blocks_of, region_of, release

ROWS = np.arange(240, dtype="int32").reshape(60, 4)
LARGE = np.arange(LEAST_BYTES_IN_PLACE // 8 + 4, dtype="float64").reshape(-1, 4)


def mapped(folder: Path, array: np.ndarray = ROWS, mode: str = "r") -> np.memmap:
    np.save(folder / "rows.npy", array)
    return np.load(folder / "rows.npy", mmap_mode=mode)


@pytest.mark.parametrize(
    "part",
    [
        lambda array: array,
        lambda array: array[7:],
        lambda array: array[5:9, :],
        lambda array: np.asarray(array)[11:13],
        lambda array: array[3],
        lambda array: array[8:12].view("uint8"),
        lambda array: array.reshape(30, 8)[4:],
    ],
)
def test_a_part_of_a_map_is_found_in_its_file(tmp_path: Path, part) -> None:
    array = part(mapped(tmp_path))
    region = region_of(array)
    assert region is not None
    np.testing.assert_array_equal(region.open(), array)


def test_a_map_far_into_a_file_is_found_there(tmp_path: Path) -> None:
    (tmp_path / "raw").write_bytes(bytes(70_003) + ROWS.tobytes())
    array = np.memmap(tmp_path / "raw", "int32", "r", 70_003, ROWS.shape)[20:]
    region = region_of(array)
    assert region is not None
    assert region.offset == 70_003 + 20 * 16
    np.testing.assert_array_equal(region.open(), ROWS[20:])


def test_columns_first_stay_columns_first(tmp_path: Path) -> None:
    region = region_of(mapped(tmp_path, np.asfortranarray(ROWS)))
    assert region is not None
    np.testing.assert_array_equal(region.open(), ROWS)


def test_what_others_would_not_see_in_the_file_has_no_place_there(tmp_path: Path) -> None:
    assert region_of(ROWS) is None
    assert region_of(mapped(tmp_path) + 1) is None
    assert region_of(mapped(tmp_path, mode="c")) is None
    assert region_of(mapped(tmp_path)[::2]) is None
    assert region_of(mapped(tmp_path)[:0]) is None
    array = mapped(tmp_path)
    (tmp_path / "rows.npy").unlink()
    assert region_of(array) is None


def test_changes_of_a_writable_map_reach_the_file(tmp_path: Path) -> None:
    array = mapped(tmp_path, mode="r+")
    array[5] = 7
    region = region_of(array)
    assert region is not None
    assert region.open()[5].tolist() == [7, 7, 7, 7]


def test_blocks_cover_an_array_and_releasing_changes_nothing(tmp_path: Path) -> None:
    array = mapped(tmp_path)
    blocks = list(blocks_of(array, block_bytes=100))
    assert len(blocks) > 5
    np.testing.assert_array_equal(np.concatenate(blocks), ROWS)
    written = mapped(tmp_path, mode="c")
    written[0] = 9
    release(written)  # would lose the change
    assert written[0].tolist() == [9, 9, 9, 9]


@pytest.mark.parametrize("order", ["C", "F"])
def test_large_stored_members_are_mapped_and_small_ones_read(tmp_path: Path, order) -> None:
    large = np.asarray(LARGE, order=order)
    np.savez(tmp_path / "d.npz", a_long_name_before=ROWS, large=large, ROWS=ROWS)
    found, names = read_npz(tmp_path / "d.npz", ("large", "ROWS"))
    assert names == ["ROWS", "a_long_name_before", "large"]
    assert region_of(found["large"]) is not None
    assert region_of(found["ROWS"]) is None
    np.testing.assert_array_equal(found["large"], large)
    np.testing.assert_array_equal(found["ROWS"], ROWS)


def test_large_compressed_members_are_read_and_that_is_said(tmp_path: Path, caplog) -> None:
    np.savez_compressed(tmp_path / "d.npz", x_train=0 * LARGE, x_val=ROWS, y_train=LARGE[:, :1], y_val=ROWS)
    with caplog.at_level(logging.WARNING):
        data = Data.from_npz(tmp_path / "d.npz")
    assert "x_train.npy of" in caplog.text
    assert "numpy.savez stores" in caplog.text
    np.testing.assert_array_equal(data.x_train, 0 * LARGE)


def test_an_archive_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x_train=LARGE)
    whole = (tmp_path / "d.npz").read_bytes()
    (tmp_path / "d.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"must be an \.npz archive"):
        Data.from_npz(tmp_path / "d.npz")


def test_an_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
        archive.writestr("x_train.npy", bytes(LEAST_BYTES_IN_PLACE + 1))
    with pytest.raises(DataError, match=r"must be an \.npz archive"):
        Data.from_npz(tmp_path / "d.npz")
