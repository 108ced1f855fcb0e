"""The recommended setting as lines of plain Keras, to be copied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


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
) -> str:
    """Return a script that trains a model, of a `build_model(hp)` and arrays that it takes to be there.

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
    more = "".join(f"    {name}={value!r},\n" for name, value in (fit_options or {}).items() if value is not None)
    lines += [
        "model.fit(",
        "    x_train,",
        "    y_train,",
        f"    batch_size={batch_size},",
        f"    epochs={epochs},",
        "    validation_data=(x_val, y_val),",
        f"{more})",
        'model.save("model.keras")',
    ]
    return "\n".join(lines) + "\n"
