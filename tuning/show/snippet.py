"""The recommended setting as lines of plain Keras, to be copied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MADE = "examples"
"""The setting of a study whose examples are made as they are needed: "loaded" of their keys, or "streamed"."""


def snippet(
    *,
    batch_size: int,
    epochs: int,
    seed: int,
    learning_rate: float | None = None,
    hyperparameters: Mapping[str, Any] | None = None,
    constants: Mapping[str, Any] | None = None,
    fit_options: Mapping[str, Any] | None = None,
    left_out: Sequence[str] = (),
    optimizer: str = "model.optimizer",
    made: bool = False,
) -> str:
    """Return a script that trains a model, of a `build_model(hp)` and data that it takes to be there.

    Args:
        batch_size: Examples per update.
        epochs: Passes over the training set.
        seed: Of the initial weights and of the order of the examples.
        learning_rate: None for the model's own.
        hyperparameters: The model's own.
        constants: What else is set on the optimizer, by attribute; text stands for itself, as an expression.
        fit_options: Further arguments of `fit`.
        left_out: What follows the batch size besides, and is not known here.
        optimizer: The expression of the optimizer.
        made: Whether the data are datasets `train` and `validation` of single examples, rather than arrays.
    """
    rates = {} if learning_rate is None else {"learning_rate": learning_rate}
    values = {**(hyperparameters or {}), "batch_size": batch_size, **rates}
    lines = [
        "import keras",
        "import keras_tuner",
        "",
        f"keras.utils.set_random_seed({seed})",
        "hp = keras_tuner.HyperParameters()",
        f"hp.values = {values!r}",
        "model = build_model(hp)  # your own function; one without arguments takes none",
    ]
    for name, value in {**rates, **(constants or {})}.items():
        lines.append(f"{optimizer}.{name} = {value}")
    lines += [
        f"# {each} follows the batch size, too; batch-size train sets it and tells the number" for each in left_out
    ]
    options = {name: value for name, value in (fit_options or {}).items() if value is not None}
    lines += _fit_of_datasets(batch_size, epochs, options) if made else _fit_of_arrays(batch_size, epochs, options)
    lines += ['model.save("model.keras")']
    return "\n".join(lines) + "\n"


def _fit_of_arrays(batch_size: int, epochs: int, options: Mapping[str, Any]) -> list[str]:
    return [
        "model.fit(",
        "    x_train,",
        "    y_train,",
        f"    batch_size={batch_size},",
        f"    epochs={epochs},",
        "    validation_data=(x_val, y_val),",
        *(f"    {name}={value!r}," for name, value in options.items()),
        ")",
    ]


def _fit_of_datasets(batch_size: int, epochs: int, options: Mapping[str, Any]) -> list[str]:
    more = dict(options)
    evaluation = more.pop("validation_batch_size", batch_size)
    return [
        "# train and validation: your tf.data datasets of single examples; train is shuffled anew in every epoch",
        "model.fit(",
        f"    train.batch({batch_size}, drop_remainder=True).prefetch(2),",
        f"    epochs={epochs},",
        f"    validation_data=validation.batch({evaluation}),",
        *(f"    {name}={value!r}," for name, value in more.items()),
        ")",
    ]
