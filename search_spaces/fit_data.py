"""What is handed over as to Keras's `fit` (inputs, targets, weights, validation), as one `Data` or `Stream`."""

from __future__ import annotations

from typing import Any

from search_spaces.data import Data
from search_spaces.datasets import Parts, collect, is_dataset, is_py_dataset
from search_spaces.stream import Stream, TrainingData
from search_spaces.structure import DataError


def read_fit_data(
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    validation_data: Any = None,
    validation_split: float = 0.0,
) -> TrainingData:
    """Return the data of a training that is called as Keras's `fit` is.

    Args:
        x: `Data`, a `Stream`, inputs as arrays or forms of these, or a dataset.
        y: Targets, if `x` holds inputs.
        sample_weight: One per training example, if `x` holds inputs.
        validation_data: `(x,)`, `(x, y)`, `(x, y, sample_weight)`, a dataset, or inputs alone.
        validation_split: Share of the examples, taken from the end, to validate on instead.

    Raises:
        DataError: If there is nothing to train or to validate on, or what there is cannot be read.
    """
    if isinstance(x, Data | Stream):
        return x
    if x is None:
        raise DataError("search() needs training data; got none. Call search(x, y, validation_data=(x_val, y_val)).")
    if validation_data is None and not 0 < validation_split < 1:
        raise DataError(
            "A batch size is judged on validation data; got none. Give validation_data=(x_val, y_val) "
            "or validation_split between 0 and 1."
        )
    train = _read_part("training", x, y, sample_weight)
    if validation_data is None:
        return Data.split(*train[:2], validation_split, train[2])
    x_val, y_val, weight_val = _read_part("validation", *_validation_parts(validation_data))
    return Data(*train[:2], x_val, y_val, train[2], weight_val)


def _read_part(part: str, x: Any, y: Any, sample_weight: Any) -> Parts:
    if not is_dataset(x) and not is_py_dataset(x):
        return x, y, sample_weight
    if y is not None or sample_weight is not None:
        raise DataError(
            f"A dataset brings its own targets and weights; got more beside the {part} dataset. Zip them: "
            "tf.data.Dataset.zip((x, y))."
        )
    return collect(part, x)


def _validation_parts(given: Any) -> Parts:
    """Return inputs, targets and weights, as Keras's `fit` reads `validation_data`; inputs may stand alone."""
    if not isinstance(given, (tuple, list)):
        return given, None, None
    if not 1 <= len(given) <= 3:
        raise DataError(
            f"validation_data must be (x,), (x, y) or (x, y, sample_weight); got {len(given)} parts. Several inputs go "
            "into a dict or a tuple."
        )
    x, y, weight = (*given, None, None)[:3]
    return x, y, weight
