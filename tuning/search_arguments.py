"""What `tuner.search` was given, read as Keras's `fit` reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from search_spaces.data import Data, map_arrays

EVALUATION_BATCH_SIZE = 256


@dataclass(frozen=True)
class SearchArguments:
    """The arguments of one search.

    Args:
        data: Training and validation arrays.
        epochs: Passes over the training set per trial.
        callbacks: The user's, copied for every trial.
        evaluation_batch_size: Examples per validation step, the same for every trial.
        verbose: 0 shows nothing.
        fit_options: What is handed on to Keras's `fit`.
    """

    data: Data
    epochs: int
    callbacks: tuple[Any, ...] = ()
    evaluation_batch_size: int = EVALUATION_BATCH_SIZE
    verbose: bool = True
    fit_options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise ValueError(f"epochs must be at least 1; got {self.epochs}.")


def read_search_arguments(
    x: Any = None,
    y: Any = None,
    *,
    epochs: int = 1,
    callbacks: Sequence[Any] = (),
    validation_data: Any = None,
    validation_split: float = 0.0,
    validation_batch_size: int | None = None,
    sample_weight: Any = None,
    verbose: Any = "auto",
    shuffle: bool = True,
    **fit_options: Any,
) -> SearchArguments:
    """Read the arguments of `tuner.search`.

    Args:
        x: `search_spaces.Data`, inputs as arrays, or an unbatched `tf.data.Dataset` of `(x, y)`.
        y: Targets, if `x` holds inputs.
        epochs: Passes over the training set per trial.
        callbacks: Keras callbacks.
        validation_data: `(x, y)`, `(x, y, sample_weight)`, or an unbatched dataset.
        validation_split: Share of the examples, taken from the end, to validate on instead.
        validation_batch_size: Examples per validation step.
        sample_weight: One per training example.
        verbose: 0 for silence.
        shuffle: Must be true: every epoch samples without replacement.
        fit_options: Further arguments of Keras's `fit`.

    Raises:
        TypeError: If `batch_size` is given; it is what is searched.
        ValueError: If there is nothing to validate on, or an argument cannot be honoured.
    """
    if "batch_size" in fit_options:
        raise TypeError("search() takes no batch_size: it is what is searched. Give it to the tuner's constructor.")
    if not shuffle:
        raise ValueError("shuffle must be True; got False. Examples are sampled without replacement in every epoch.")
    return SearchArguments(
        data=_read_data(x, y, sample_weight, validation_data, validation_split).checked(),
        epochs=epochs,
        callbacks=tuple(callbacks),
        evaluation_batch_size=validation_batch_size or EVALUATION_BATCH_SIZE,
        verbose=verbose != 0,
        fit_options=fit_options,
    )


def _read_data(x: Any, y: Any, sample_weight: Any, validation_data: Any, validation_split: float) -> Data:
    if isinstance(x, Data):
        return x
    if x is None:
        raise ValueError("search() needs training data; got none. Call search(x, y, validation_data=(x_val, y_val)).")
    if validation_data is None and not 0 < validation_split < 1:
        raise ValueError(
            "A batch size is judged on validation data; got none. Give validation_data=(x_val, y_val) "
            "or validation_split between 0 and 1."
        )
    if hasattr(x, "element_spec"):
        return Data.from_tf_data(x, validation_data)
    if validation_data is None:
        return _split(x, y, sample_weight, validation_split)
    x_val, y_val, *weight_val = validation_data
    return Data(x, y, x_val, y_val, sample_weight, weight_val[0] if weight_val else None)


def _split(x: Any, y: Any, sample_weight: Any, share: float) -> Data:
    """Keras's own split: the last examples, before any shuffling."""
    whole = Data(x, y, x, y, sample_weight)
    at = int(whole.n_train * (1 - share))

    def before(part: Any) -> Any:
        return map_arrays(lambda array: array[:at], part)

    def after(part: Any) -> Any:
        return map_arrays(lambda array: array[at:], part)

    x, y, weight = whole.x_train, whole.y_train, whole.sample_weight_train
    return Data(before(x), before(y), after(x), after(y), before(weight), after(weight))
