"""series: forecasting the membrane potential of a firing neuron, or any series in a `.csv` file.

The embedded series is a recording that ships with Matplotlib for its logo, `membrane.dat`: 6 seconds at 2,000 samples
per second of a neuron at rest, then firing, and at rest again.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from search_spaces.batch_size import BatchSize
from search_spaces.data import Data, DataError
from search_spaces.files import numbers_of, read_table
from search_spaces.workload import Description, Workload

WINDOW = 64
"""Past values that a forecast sees."""
HORIZON = 16
"""Steps ahead that are forecast: 8 ms of the embedded series."""
_TRAINING_SHARE = 0.75
_FEWEST_VALUES = 4 * (WINDOW + HORIZON)


def build_model(hp: Any) -> Any:
    """The next values from the past ones by one hidden layer of 16 or 128 units; Adam at 1e-3, absolute error."""
    import keras

    model = keras.Sequential(
        [
            keras.Input((WINDOW,)),
            keras.layers.Dense(hp.Choice("units", [16, 128]), activation="relu"),
            keras.layers.Dense(HORIZON),
        ]
    )
    model.compile("adam", "mean_absolute_error")
    return model


def load_membrane() -> Data:
    """Windows of Matplotlib's `membrane.dat`: see `windows`."""
    from matplotlib.cbook import get_sample_data

    return windows(np.fromfile(get_sample_data("membrane.dat", asfileobj=False), "float32"))


def read_series(path: str) -> Data:
    """The last column of a `.csv` file with a line of names, one row per step of time, the oldest first.

    Raises:
        DataError: If the file is no such table, or the series is short or constant.
    """
    values = numbers_of(read_table(path).iloc[:, -1:], path)[:, 0]
    if len(values) < _FEWEST_VALUES:
        raise DataError(f"A series must have at least {_FEWEST_VALUES} values; {path} has {len(values)}.")
    if np.ptp(values[: _boundary(values)]) == 0:
        raise DataError(f"A series must vary in its first three quarters; {path} stays at {values[0]}.")
    return windows(values)


def windows(series: np.ndarray[Any, Any]) -> Data:
    """Pairs of `(n, 64)` past and `(n, 16)` next values, `float32`, one for every step of time.

    The first three quarters of the series train, the last validates: no window crosses the boundary, and mean and
    deviation are those of the training part.
    """
    at = _boundary(series)
    scaled = ((series - series[:at].mean()) / series[:at].std()).astype("float32")
    return Data(*_pairs(scaled[:at]), *_pairs(scaled[at:]))


def _boundary(series: np.ndarray[Any, Any]) -> int:
    return int(_TRAINING_SHARE * len(series))


def _pairs(part: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    pairs = np.lib.stride_tricks.sliding_window_view(part, WINDOW + HORIZON)
    return pairs[:, :WINDOW].copy(), pairs[:, WINDOW:].copy()


workload = Workload(
    name="series",
    build=build_model,
    data=load_membrane,
    objective="val_loss",
    epochs=5,
    batch_size=BatchSize(16, 1024, factor=4),
    read_file=read_series,
    description=Description(
        data="a neuron's voltage, from Matplotlib: 8,921 + 2,921 windows, or .csv",
        model="forecast 16 steps from 64",
        space="batch 16 to 1024 by 4, units 16, 128",
        minutes="1",
    ),
)
