"""The recommended setting as lines of plain Keras, to be copied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tuning.stats.recommendation import Recommendation
from tuning.trial import Trial

_FOLLOWERS = {
    "schedule": (),
    "weight_decay": ("weight_decay",),
    "decay_constants": ("beta_2", "rho", "ema_momentum"),
}
"""What may follow the batch size beside the learning rate, by its setting, and what a trial calls the numbers."""

_BUILT = "model = build_model("

MADE = "examples"
"""The setting of a study whose examples are made as they are needed: "loaded" of their keys, or "streamed"."""

CARDS = "cards_per_training"
"""The setting of a study whose trainings share several cards: how many."""


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
    cards: int = 1,
    takes_hp: bool | None = None,
) -> str:
    """Return a script that trains a model, of a `build_model` and data that it takes to be there.

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
        cards: How many cards share the training.
        takes_hp: Whether the build function takes `hp`; None if nobody knows.
    """
    rates = {} if learning_rate is None else {"learning_rate": learning_rate}
    values = {**(hyperparameters or {}), "batch_size": batch_size, **rates}
    lines = _built(seed, values, cards=cards, takes_hp=takes_hp)
    for name, value in {**rates, **(constants or {})}.items():
        lines.append(f"{optimizer}.{name} = {value}")
    lines += [
        f"# {each} follows the batch size, too; batch-size train sets it and tells the number" for each in left_out
    ]
    options = {name: value for name, value in (fit_options or {}).items() if value is not None}
    lines += _fit_of_datasets(batch_size, epochs, options) if made else _fit_of_arrays(batch_size, epochs, options)
    lines += ['model.save("model.keras")']
    return "\n".join(lines) + "\n"


def _built(seed: int, values: Mapping[str, Any], *, cards: int, takes_hp: bool | None) -> list[str]:
    """Return the lines up to the built model."""
    takes = takes_hp is not False
    scope = f"with tf.distribute.MirroredStrategy().scope():  # of {cards} cards, which share each batch"
    unknown = "; one without arguments takes none" if takes_hp is None else ""
    return [
        "import keras",
        *(["import keras_tuner"] if takes else []),
        *(["import tensorflow as tf"] if cards > 1 else []),
        "",
        f"keras.utils.set_random_seed({seed})",
        *(["hp = keras_tuner.HyperParameters()", f"hp.values = {values!r}"] if takes else []),
        *([scope] if cards > 1 else []),
        f"{'    ' * (cards > 1)}{_BUILT}{'hp' if takes else ''})  # your own function{unknown}",
    ]


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


def script_of(found: Recommendation, settings: Mapping[str, str], trials: Sequence[Trial]) -> str:
    """Return the recommended setting as a script of plain Keras; empty for runs of other programs.

    Args:
        found: The recommendation.
        settings: Those of the study.
        trials: Of which those at the recommended setting may know the numbers that followed the batch size.
    """
    if not settings.get("epochs", "").isdecimal():
        return ""
    known = _settings_of(found, trials)
    followers = {name: names for name, names in _FOLLOWERS.items() if name in settings}
    constants = {name: known[name] for names in followers.values() for name in names if name in known}
    unknown = [name for name, names in followers.items() if not any(each in known for each in names)]
    return snippet(
        batch_size=found.batch_size,
        epochs=int(settings["epochs"]),
        seed=0,
        learning_rate=None if "schedule" in settings else found.learning_rate,
        hyperparameters=dict(found.hyperparameters),
        constants=constants,
        left_out=[name.replace("_", " ") for name in unknown],
        made=MADE in settings,
        cards=int(settings.get(CARDS, "1")),
    )


def essential(script: str) -> str:
    """Return the lines of a script from the built model to its training: what differs from a script of one's own."""
    after = script.partition(_BUILT)[2].partition("\n")[2]
    return after.partition("model.save(")[0].rstrip("\n")


def _settings_of(found: Recommendation, trials: Sequence[Trial]) -> Mapping[str, Any]:
    """Return what a training at the recommended setting has used."""
    recipe = (found.batch_size, found.learning_rate, found.hyperparameters)
    same = (
        trial.outcome.settings
        for trial in trials
        if trial.outcome is not None and (trial.batch_size, trial.learning_rate, trial.hyperparameters) == recipe
    )
    return next((settings for settings in same if settings), {})
