"""Data by a path, for a model of the user's own: an archive of arrays, a folder of images, or a table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from search_spaces.data import Data, DataError
from search_spaces.files import labels_of, numbers_of, read_table

TABLES = (".csv", ".parquet")
PARTS = ("train", "val")
"""The folders of the two parts in a folder that holds both."""


def read_path(
    path: str,
    *,
    validation_split: float | None = None,
    image_size: tuple[int, int] | None = None,
    label: str | None = None,
) -> Data:
    """Read a folder of images, a `.csv` or `.parquet` table, or an `.npz` archive.

    Args:
        path: Of the file or the folder.
        validation_split: The share that validates, where the data have no such part.
        image_size: Height and width to which images are resized; None for 256 by 256.
        label: The column of a table that is the target; None for the last.

    Raises:
        DataError: If it is none of these, or an option is for another kind of data.
    """
    if Path(path).is_dir():
        _refuse("label", label, "a table")
        return read_folder(path, validation_split=validation_split, image_size=image_size or (256, 256))
    _refuse("image size", image_size, "a folder of images")
    if path.lower().endswith(TABLES):
        return _read_labelled(path, validation_split, label)
    _refuse("label", label, "a table")
    return Data.from_npz(path, validation_split)


def read_folder(
    path: str,
    *,
    validation_split: float | None = None,
    image_size: tuple[int, int] = (256, 256),
    color_mode: str = "rgb",
    augment: Callable[..., Any] | None = None,
) -> Data:
    """Read a folder of images with the folders `train` and `val` in it, or with one for each class.

    Raises:
        DataError: As `Data.from_image_folder`.
    """
    options: dict[str, Any] = {"image_size": image_size, "color_mode": color_mode, "augment": augment}
    train, val = (Path(path) / part for part in PARTS)
    if train.is_dir() and val.is_dir():
        _refuse("validation split", validation_split, f"a folder without {val}")
        return Data.from_image_folder(train, val, **options)
    if validation_split is None:
        raise DataError(
            f"A batch size is judged on validation data; {path} has no folders train and val. Make them, or give a "
            "validation split, such as 0.2."
        )
    return Data.from_image_folder(path, validation_split=validation_split, **options)


def _read_labelled(path: str, validation_split: float | None, label: str | None) -> Data:
    """Columns of numbers `(n, columns) float32`, and a target: words become classes, numbers stay.

    Raises:
        DataError: If there is no validation split, or the table is not of that kind.
    """
    if validation_split is None:
        raise DataError(
            f"A batch size is judged on validation data; {path} has one part. Give a validation split, such as 0.2, "
            "for its last rows."
        )
    columns, target = labels_of(read_table(path), path, label)
    return Data.split(numbers_of(columns, path).astype("float32"), _target(target, path), validation_split)


def _target(column: Any, path: str) -> Any:
    import numpy as np
    from pandas.api.types import is_bool_dtype, is_float_dtype, is_numeric_dtype

    if column.isna().any():
        raise DataError(f"Every row must have a label; column {column.name!r} of {path} misses some. Drop these rows.")
    if is_numeric_dtype(column) and not is_bool_dtype(column):
        return column.to_numpy("float32" if is_float_dtype(column) else "int64")
    return np.unique(column.to_numpy().astype(str), return_inverse=True)[1].astype("int32")


def _refuse(option: str, value: object, what: str) -> None:
    if value is not None:
        raise DataError(f"The option {option} is for {what}; got {value!r} with other data. Leave it out.")
