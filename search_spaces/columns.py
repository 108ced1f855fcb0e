"""Columns: frames, series and arrays of pandas as NumPy arrays, in the types that Keras gives them."""

from __future__ import annotations

from typing import Any

import numpy as np

from search_spaces.structure import DataError
from search_spaces.values import check_values


def is_pandas(given: Any) -> bool:
    """Return whether something is a frame, a series, an index or an array of pandas."""
    if type(given).__module__.partition(".")[0] != "pandas":
        return False
    import pandas

    return isinstance(given, (pandas.DataFrame, pandas.Series, pandas.Index, pandas.api.extensions.ExtensionArray))


def read_pandas(name: str, given: Any) -> np.ndarray[Any, Any]:
    """Return a frame as `(rows, columns)`, a series as `(rows, 1)`, as Keras does, and other arrays as `(rows,)`.

    Source: keras 3.15, `array_slicing.PandasSeriesSliceable`.

    Raises:
        DataError: If a value is missing, a column holds times, or only some columns hold strings.
    """
    import pandas

    if isinstance(given, pandas.DataFrame):
        return _frame(name, given)
    if isinstance(given, pandas.MultiIndex):
        raise DataError(f"{name} must be one column; got an index of {given.nlevels} levels. Hand over .to_frame().")
    array = _column(name, given if isinstance(given, pandas.Series) else pandas.Series(given))
    return array[:, None] if isinstance(given, pandas.Series) else array


def _frame(name: str, frame: Any) -> np.ndarray[Any, Any]:
    columns = [_checked_column(f"{name}[{label!r}]", frame.iloc[:, index]) for index, label in enumerate(frame.columns)]
    if not columns:
        raise DataError(f"{name} must have a column; got a frame without any.")
    text = [str(label) for label, column in zip(frame.columns, columns, strict=True) if column.dtype == object]
    if 0 < len(text) < len(columns):
        raise DataError(
            f"A frame of several types is no array; {name} has columns of strings, {', '.join(text)[:80]}, beside "
            "others. Encode them, or give each column an input of its own: {column: frame[column] for column in frame}."
        )
    return np.stack(columns, axis=1)  # of the type that holds all of them


def _checked_column(name: str, series: Any) -> np.ndarray[Any, Any]:
    """Return a column, if it holds strings where it holds objects."""
    column = _column(name, series)
    if column.dtype == object:
        check_values(name, column)
    return column


def _column(name: str, series: Any) -> np.ndarray[Any, Any]:
    missing = int(series.isna().sum())
    if missing:
        raise DataError(f"{name} must have no missing values; got {missing} of {len(series)}. Impute or drop them.")
    kind = series.dtype
    if getattr(kind, "categories", None) is not None:
        series, kind = series.astype(kind.categories.dtype), kind.categories.dtype
    if kind.kind in "mM" or str(kind).startswith("period"):
        raise DataError(
            f"{name} must hold numbers or strings; got times, {kind}. Turn them into numbers, such as "
            "(column - column.min()).dt.total_seconds()."
        )
    if isinstance(kind, np.dtype):
        return np.asarray(series)
    # of nullable types, and of sparse ones
    numbers = getattr(kind, "numpy_dtype", kind.subtype if str(kind).startswith("Sparse") else np.dtype(object))
    return np.asarray(series.to_numpy(dtype=object if numbers.kind not in "biufc" else numbers))
