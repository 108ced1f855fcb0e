"""Reads other data sets of the same kind, images and tables, from files that a user names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from search_spaces.archive import check_file
from search_spaces.data import Data, DataError


def read_images(path: str) -> Data:
    """Images and labels from an `.npz` archive; whole numbers are taken to be grey values in 0..255 and become 0..1.

    Raises:
        DataError: If the archive cannot be read or lacks a part.
    """
    return scaled(Data.from_npz(path))


def read_classified_images(path: str) -> Data:
    """As `read_images`, with an axis of channels, `(n, height, width, channels)`, and labels that count from 0.

    Raises:
        DataError: Also if the images are no images or the labels are not classes.
    """
    data = read_images(path)
    for name, images in (("x_train", data.x_train), ("x_val", data.x_val)):
        if images.ndim not in (3, 4) or min(images.shape[1:3]) < 4:
            raise DataError(
                f"{name} must hold images of at least 4x4, (n, height, width) or (n, height, width, channels); "
                f"{path} has shape {images.shape}. Reshape it."
            )
    for name, labels in (("y_train", data.y_train), ("y_val", data.y_val)):
        if labels.ndim != 1 or labels.dtype.kind not in "iu" or labels.min() < 0:
            raise DataError(
                f"{name} must hold a class for each image, a whole number from 0; "
                f"{path} has {labels.dtype} of shape {labels.shape}. Encode the labels."
            )
    if data.x_train.ndim == 4:
        return data
    return replace(data, x_train=data.x_train[..., None], x_val=data.x_val[..., None])


def number_of_classes(data: Data) -> int:
    """One more than the largest label of either part."""
    return int(max(data.y_train.max(), data.y_val.max())) + 1


def scaled(data: Data) -> Data:
    """Whole numbers from 0..255 as `float32` in 0..1; other images as they are."""
    if data.x_train.dtype.kind not in "iu":
        return data
    return replace(data, x_train=(data.x_train / 255).astype("float32"), x_val=(data.x_val / 255).astype("float32"))


def read_table(path: str) -> Any:
    """A `.csv` file with a line of column names, or a `.parquet` file, as a `pandas.DataFrame`.

    Raises:
        DataError: If the file is missing, is no table, or has no rows.
    """
    import pandas

    check_file(Path(path))
    if path.lower().endswith(".parquet"):
        table = _read_parquet(path)
    else:
        try:
            table = pandas.read_csv(path, index_col=False, skipinitialspace=True)
        except (ValueError, OSError) as error:  # pandas' parser errors and Unicode errors are ValueErrors
            raise DataError(
                f"The data file must be a table in UTF-8; {path} cannot be read as one ({error})."
            ) from None
    if table.empty:
        raise DataError(f"The table must have a line of names and rows below it; {path} has no rows.")
    return table


def _read_parquet(path: str) -> Any:
    import pandas

    try:
        return pandas.read_parquet(path).reset_index(drop=True)
    except Exception as error:  # pyarrow's, of many kinds
        told = " ".join(str(error).split())
        raise DataError(f"The data file must be a Parquet table; {path} cannot be read as one ({told:.100}).") from None


def labels_of(table: Any, path: str, label: str | None = None) -> tuple[Any, Any]:
    """Return the columns of a table without that of the labels, and the labels.

    Args:
        table: A `pandas.DataFrame`.
        path: Where it was read.
        label: The column's name; None for the last.

    Raises:
        DataError: If there is no such column, or no other.
    """
    names = [str(name) for name in table.columns]
    if len(names) < 2:
        raise DataError(f"A table needs a column of numbers and one of labels; {path} has {len(names)}.")
    if label is not None and label not in names:
        shown = ", ".join(names[:20])
        raise DataError(f"The label must be a column of the table; {path} has {shown}; got {label!r}.")
    at = -1 if label is None else names.index(label)
    return table.drop(columns=table.columns[at]), table.iloc[:, at]


def numbers_of(table: Any, path: str) -> np.ndarray[Any, Any]:
    """The columns of a table as `(n_rows, n_columns) float64`.

    Raises:
        DataError: If a column holds anything but numbers, or a value is missing or infinite.
    """
    from pandas.api.types import is_numeric_dtype

    for name in table.columns:
        if not is_numeric_dtype(table[name]):
            raise DataError(
                f"Every column but a label must hold numbers; column {name!r} of {path} does not. Encode or drop it."
            )
    values: np.ndarray[Any, Any] = table.to_numpy("float64")
    rows, columns = np.nonzero(~np.isfinite(values))
    if len(rows):
        raise DataError(
            f"A table must have no missing or infinite values; {path} has {len(rows)}, the first in row {rows[0] + 1} "
            f"of column {table.columns[columns[0]]!r}. Impute or drop them."
        )
    return values
