"""Tables of numbers from `.csv` files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from search_spaces.data import DataError


def read_table(path: str) -> Any:
    """A `.csv` file with a line of column names, as a `pandas.DataFrame`.

    Raises:
        DataError: If the file is missing, is no table, or has no rows.
    """
    import pandas

    if not Path(path).is_file():
        raise DataError(f"The data file must exist; got {path}. Check the path.")
    try:
        table = pandas.read_csv(path, index_col=False, skipinitialspace=True)
    except (ValueError, OSError) as error:  # pandas' parser errors and Unicode errors are ValueErrors
        raise DataError(f"The data file must be a table in UTF-8; {path} cannot be read as one ({error}).") from None
    if table.empty:
        raise DataError(f"The table must have a line of names and rows below it; {path} has no rows.")
    return table


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
