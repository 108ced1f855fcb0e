import os
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from search_spaces import Data, identity
from search_spaces.array_files import LEAST_BYTES_IN_PLACE
from search_spaces.identity import fingerprint
from tuning.run.wire import read_data, write_data

Usage = namedtuple("Usage", "total used free")


def nested(value: float = 0.0) -> Data:
    x = {"a": np.full((3, 2), value), "b": (np.arange(3), np.array(["x", "y", "z"]))}
    return Data(x, np.arange(3), x, np.arange(3), sample_weight_train=np.ones(3))


def test_arrays_come_back_as_they_nest_and_mapped(tmp_path: Path) -> None:
    write_data(nested(), tmp_path)
    found = read_data(tmp_path)
    assert isinstance(found.x_train["a"], np.memmap)
    assert found.x_train["b"][1].tolist() == ["x", "y", "z"]
    assert found.sample_weight_val is None
    assert found.sample_weight_train.tolist() == [1, 1, 1]


def test_the_fingerprint_tells_values_apart() -> None:
    assert fingerprint(nested()) == fingerprint(nested())
    assert fingerprint(nested()) != fingerprint(nested(1.0))


def test_the_fingerprint_tells_the_last_value_of_an_array_and_strings_of_either_kind() -> None:
    data = nested()
    changed = {**data.x_train, "a": data.x_train["a"].copy()}
    changed["a"][-1, -1] = 1
    assert fingerprint(replace(data, x_train=changed)) != fingerprint(data)
    words = np.array(["ab", "c", "d"], dtype=object)
    told = [np.array(each, dtype=object) for each in (["a", "bc", "d"], [b"ab", b"c", b"d"])]
    assert fingerprint(replace(data, x_train=words)) != fingerprint(replace(data, x_train=told[0]))
    assert fingerprint(replace(data, x_train=words)) == fingerprint(replace(data, x_train=told[1]))


def test_of_an_array_that_is_not_large_every_row_tells() -> None:
    x = np.zeros((100_000, 4), "int8")
    before = fingerprint(with_labels(x))
    x[777] = 1  # between the rows that a sample would take
    assert fingerprint(with_labels(x)) != before


def test_an_identity_stands_for_the_values_but_not_for_the_shapes() -> None:
    named = [replace(nested(value), identity="products, 2nd edition") for value in (0.0, 1.0)]
    assert fingerprint(named[0]) == fingerprint(named[1]) != fingerprint(nested())
    assert fingerprint(named[0]) != fingerprint(replace(named[0], identity="products, 3rd edition"))
    assert fingerprint(named[0]) != fingerprint(replace(named[0], sample_weight_train=None))


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> np.memmap:
    """A map of an array that is taken to be too large to be read whole."""
    rows = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", "uint8", (LEAST_BYTES_IN_PLACE // 1024, 1024))
    rows.flush()
    monkeypatch.setattr(identity, "MOST_BYTES_HASHED", rows.nbytes - 1)
    return np.load(tmp_path / "x.npy", mmap_mode="r")


def with_labels(x: np.ndarray) -> Data:
    y = np.zeros(len(x), "int32")
    return Data(x, y, x[:10], y[:10])


def test_of_a_large_file_the_time_and_a_sample_tell(large: np.memmap, tmp_path: Path) -> None:
    before = fingerprint(with_labels(large))
    assert fingerprint(with_labels(np.load(tmp_path / "x.npy", mmap_mode="r"))) == before
    times = (tmp_path / "x.npy").stat()
    written = np.load(tmp_path / "x.npy", mmap_mode="r+")
    written[-1, -1] = 1
    written.flush()
    os.utime(tmp_path / "x.npy", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert fingerprint(with_labels(large)) != before
    written[-1, -1] = 0
    written.flush()
    os.utime(tmp_path / "x.npy", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert fingerprint(with_labels(large)) == before
    os.utime(tmp_path / "x.npy", ns=(times.st_atime_ns, times.st_mtime_ns + 1))
    assert fingerprint(with_labels(large)) != before


def test_a_large_file_is_used_where_it_lies_and_what_is_small_or_in_memory_is_copied(large, tmp_path: Path) -> None:
    data = with_labels(large)
    write_data(data, tmp_path / "data", in_place=True)
    assert sum(path.stat().st_size for path in (tmp_path / "data").iterdir()) < LEAST_BYTES_IN_PLACE
    found = read_data(tmp_path / "data")
    assert found.x_train.filename == tmp_path / "x.npy"
    np.testing.assert_array_equal(found.x_val, large[:10])
    assert not found.x_train.flags.writeable
    write_data(data, tmp_path / "copies")
    assert read_data(tmp_path / "copies").x_train.filename != tmp_path / "x.npy"


def test_data_that_a_disk_has_no_room_for_are_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.zeros((10**6, 2), "float32")
    data = Data(x, x, x[:1], x[:1])
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(10**9, 10**9, 2 * 8 * (10**6 + 1) - 1))
    with pytest.raises(OSError, match=r"free 16 MB there for a copy of the data, or set TMPDIR"):
        write_data(data, tmp_path / "data")
    assert list((tmp_path / "data").iterdir()) == []
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(10**9, 10**9, 2 * 8 * (10**6 + 1)))
    write_data(data, tmp_path / "data")
