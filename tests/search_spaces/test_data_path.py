"""Data by a path: archives, folders of images and tables, with the options that suit each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

from search_spaces.data import Data, DataError
from search_spaces.data_path import read_path
from search_spaces.image_folder import ImageReader

TABLE = {"u": [1, 2, 3, 4, 5], "kind": ["b", "a", "b", "c", "a"], "v": [0.5, 1.5, 2.5, 3.5, 4.5]}


@pytest.fixture(autouse=True)
def in_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [f"{part}/{kind}/{i}.png" for part in ("both/train", "both/val", "one") for kind in "ab" for i in "12"]:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    pandas.DataFrame(TABLE).to_csv("table.csv", index=False)
    pandas.DataFrame(TABLE, index=[3, 1, 4, 1, 5]).to_parquet("table.parquet")
    np.savez("arrays.npz", x_train=np.zeros((4, 2)), y_train=np.zeros(4))


def shape_of(data: Data) -> tuple[int, int, int]:
    assert isinstance(data.load_val, ImageReader)
    return data.load_val.shape


def test_an_archive_is_read() -> None:
    assert read_path("arrays.npz", validation_split=0.25).n_val == 1


def test_a_folder_has_its_parts_or_is_split() -> None:
    both, one = read_path("both"), read_path("one", validation_split=0.25, image_size=(8, 4))
    assert (both.n_train, both.n_val, shape_of(both)) == (4, 4, (256, 256, 3))
    assert (one.n_train, one.n_val, shape_of(one)) == (3, 1, (8, 4, 3))


@pytest.mark.parametrize("path", ["table.csv", "table.parquet"])
def test_a_table_has_a_column_of_labels(path: str) -> None:
    data = read_path(path, label="kind", validation_split=0.2)
    assert (data.x_train.tolist(), data.x_train.dtype) == ([[1, 0.5], [2, 1.5], [3, 2.5], [4, 3.5]], np.float32)
    assert (data.y_train.tolist(), data.y_train.dtype, data.y_val.tolist()) == ([1, 0, 1, 2], np.int32, [0])
    with pytest.raises(DataError, match=r"column 'kind' of table.* does not. Encode or drop it"):
        read_path(path, validation_split=0.2)


@pytest.mark.parametrize(
    ("labels", "expected", "kind"),
    [([3, 1, 2], [3, 1], "int64"), ([3.0, 1.5, 2], [3, 1.5], "float32"), ([True, False, True], [1, 0], "int32")],
)
def test_numbers_stay_targets_and_words_become_classes(labels: list[Any], expected: list[Any], kind: str) -> None:
    pandas.DataFrame({"x": [1, 2, 3], "y": labels}).to_csv("t.csv", index=False)
    data = read_path("t.csv", validation_split=0.33)
    assert (data.y_train.tolist(), data.y_train.dtype) == (expected, kind)


@pytest.mark.parametrize(
    ("path", "options", "message"),
    [
        ("one", {}, "one has no folders train and val. Make them, or give a validation split"),
        ("both", {"validation_split": 0.2}, "validation split is for a folder without both/val; got 0.2"),
        ("one", {"label": "v"}, "option label is for a table; got 'v' with other data"),
        ("arrays.npz", {"label": "v"}, "option label is for a table"),
        ("table.csv", {"image_size": (8, 8)}, "image size is for a folder of images"),
        ("table.csv", {}, "table.csv has one part. Give a validation split"),
        ("table.csv", {"validation_split": 0.2, "label": "w"}, "table.csv has u, kind, v; got 'w'"),
        ("absent.csv", {"validation_split": 0.2}, "must exist; got 'absent.csv'"),
        ("absent", {}, "must exist; got 'absent'"),
    ],
)
def test_what_does_not_suit_the_data_is_refused(path: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_path(path, **options)


def test_a_missing_label_and_a_broken_file_are_refused() -> None:
    Path("t.csv").write_text("x,y\n1,a\n2,\n3,b\n")
    with pytest.raises(DataError, match=r"column 'y' of t\.csv misses some. Drop these rows"):
        read_path("t.csv", validation_split=0.4)
    Path("t.parquet").write_text("no table")
    with pytest.raises(DataError, match=r"must be a Parquet table; t\.parquet cannot be read as one"):
        read_path("t.parquet", validation_split=0.4)
