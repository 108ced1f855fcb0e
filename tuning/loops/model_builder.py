"""Builds the user's model for one trial: seed, hyperparameters, learning rate, and the checks on what comes back."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import keras
import keras_tuner
import numpy as np

from tuning.loops.failures import status_of_error
from tuning.loops.keras_private import LightSeed, restart_automatic_names
from tuning.trial import Status, Trial

LEARNING_RATE_NAMES = ("learning_rate", "lr")
"""The entries of `hp` that a build function may read the learning rate from."""

_HP_NAMES = ("hp", "hps", "hyperparameters")


class ModelError(ValueError):
    """A build function that builds nothing usable; the message is one line with the rule, the value, the way out."""


class ModelBuilder:
    """Calls the user's build function as KerasTuner would, under a given seed.

    Args:
        hypermodel: A `keras_tuner.HyperModel`, `build_model(hp)` or `build_model()`.
    """

    def __init__(self, hypermodel: Any) -> None:
        self._hypermodel = hypermodel
        # What the user's program set globally; a build may set another policy, which holds for that trial alone.
        self._dtype_policy = keras.config.dtype_policy()

    def check(self) -> None:
        """Refuse what cannot be searched.

        Raises:
            ModelError: If a `HyperModel` brings its own `fit`, or nothing can be called.
        """
        if isinstance(self._hypermodel, keras_tuner.HyperModel):
            if type(self._hypermodel).fit is not keras_tuner.HyperModel.fit:
                raise ModelError(
                    f"A HyperModel must leave fit alone, since the tuner drives training; got "
                    f"{type(self._hypermodel).__name__}.fit. Override the model's train_step or pass callbacks instead."
                )
        elif not callable(self._hypermodel):
            raise ModelError(f"The model must come from a HyperModel or build_model(hp); got {self._hypermodel!r:.80}.")

    def declare(self, hp: keras_tuner.HyperParameters) -> None:
        """Let a `HyperModel` declare hyperparameters that no build reads."""
        if isinstance(self._hypermodel, keras_tuner.HyperModel):
            self._hypermodel.declare_hyperparameters(hp)

    def build(self, hp: keras_tuner.HyperParameters, seed: int) -> keras.Model:
        """Return a compiled model with fresh initial weights.

        Automatic names, the dtype policy and the seed are set first, so that every build begins alike; a policy that
        the build function sets stays until `restore_policy` or the next build.

        Raises:
            ModelError: If the build raises, or returns no compiled `keras.Model`.
        """
        self.check()
        self._begin()
        light = LightSeed(seed)
        model = self._call_checked(hp)
        if light.was_used:
            self._begin()
            keras.utils.set_random_seed(seed)
            model = self._call_checked(hp)
        if not isinstance(model, keras.Model):
            raise ModelError(f"The build function must return a keras.Model; got {model!r:.80}. Return the model.")
        if not model.compiled or model.optimizer is None:
            raise ModelError(
                f"The build function must return a compiled model; got {model.name!r} without an optimizer. "
                "Call model.compile(optimizer=..., loss=...) before returning it."
            )
        return model

    def restore_policy(self) -> None:
        """Set the dtype policy that held when this was created."""
        keras.config.set_dtype_policy(self._dtype_policy)

    def build_for(self, trial: Trial) -> keras.Model:
        """Return the model of one trial, with its learning rate set.

        Raises:
            ModelError: As `build`, or if a learning rate is asked of a model that follows a schedule.
        """
        hp = keras_tuner.HyperParameters()
        hp.values = {**dict(trial.hyperparameters), "batch_size": trial.batch_size}
        if trial.learning_rate is not None:
            hp.values.update(dict.fromkeys(LEARNING_RATE_NAMES, trial.learning_rate))
        model = self.build(hp, trial.seed)
        if trial.learning_rate is not None and declared_learning_rate(hp) is None:
            set_learning_rate(model, trial.learning_rate)
        if (betas_at := trial.instructions.betas_at) is not None:
            scale_decay_constants(unwrapped_optimizer(model), trial.batch_size / betas_at)
        if trial.accumulation_steps > 1:
            accumulate_gradients(model, trial.accumulation_steps)
        return model

    def _begin(self) -> None:
        restart_automatic_names()
        self.restore_policy()

    def _call_checked(self, hp: keras_tuner.HyperParameters) -> Any:
        try:
            return self._call(hp)
        except Exception as error:
            status, reason = status_of_error(error)
            if status is Status.OUT_OF_MEMORY:
                raise
            raise ModelError(
                f"The build function must build a model; it raised {reason} Call it by itself to find out why."
            ) from error

    def _call(self, hp: keras_tuner.HyperParameters) -> Any:
        if isinstance(self._hypermodel, keras_tuner.HyperModel):
            return self._hypermodel.build(hp)
        return self._hypermodel(hp) if _wants_hyperparameters(self._hypermodel) else self._hypermodel()


def declared_learning_rate(hp: keras_tuner.HyperParameters) -> str | None:
    """Return the entry through which the build function reads its learning rate, or None."""
    declared = {entry.name for entry in hp.space}
    return next((name for name in LEARNING_RATE_NAMES if name in declared), None)


def constant_learning_rate(model: keras.Model) -> float | None:
    """Return the optimizer's learning rate; None if it follows a schedule or a function."""
    value = unwrapped_optimizer(model).get_config().get("learning_rate")
    if not isinstance(value, (int, float)):
        return None
    return float(str(np.float32(value)))  # the number that was written: 0.001, not float32's 0.0010000000474974513


def set_learning_rate(model: keras.Model, learning_rate: float) -> None:
    """Assign a learning rate to the compiled optimizer, also beneath the loss scaling of mixed precision.

    Raises:
        ModelError: If the optimizer follows a schedule.
    """
    optimizer = unwrapped_optimizer(model)
    if constant_learning_rate(model) is None:
        raise ModelError(
            f"A learning rate can be searched only where the model has none of its own; got {learning_rate} for an "
            f"{type(optimizer).__name__} with a learning-rate schedule. Search without learning rates, or compile "
            "with a number."
        )
    optimizer.learning_rate = learning_rate


def accumulate_gradients(model: keras.Model, steps: int) -> None:
    """Let the compiled optimizer update once for so many gradients, with their mean.

    Keras 3.15 reads the attribute when the optimizer is built and at every step, so it can be set until then.

    Raises:
        ModelError: If the optimizer has been built already.
    """
    optimizer = unwrapped_optimizer(model)
    if optimizer.built:
        raise ModelError("Gradients can be accumulated only by an optimizer that was not built yet; compile it anew.")
    optimizer.gradient_accumulation_steps = steps * (optimizer.gradient_accumulation_steps or 1)


def optimizer_name(model: keras.Model) -> str:
    """Return the class name of the optimizer, without the loss-scaling wrapper of mixed precision."""
    return type(unwrapped_optimizer(model)).__name__


def unwrapped_optimizer(model: keras.Model) -> Any:
    """Return the optimizer itself, beneath the loss scaling of mixed precision."""
    optimizer = model.optimizer
    return getattr(optimizer, "inner_optimizer", optimizer)


def _wants_hyperparameters(function: Callable[..., Any]) -> bool:
    """Return whether to call `build_model(hp)` rather than `build_model()`, from its first parameter."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except ValueError:  # a callable without a signature: called as KerasTuner would
        return True
    first = parameters[0] if parameters else None
    if first is None or first.kind in (first.KEYWORD_ONLY, first.VAR_KEYWORD):
        return False
    return first.name in _HP_NAMES or first.kind == first.VAR_POSITIONAL or first.default is first.empty


def hyperparameters_from(config: Mapping[str, Any]) -> keras_tuner.HyperParameters:
    """Read a `HyperParameters.get_config()`; an empty one gives an empty space."""
    return keras_tuner.HyperParameters.from_config(dict(config)) if config else keras_tuner.HyperParameters()


_SECOND_MOMENT = {
    "beta_2": (keras.optimizers.Adam, keras.optimizers.Nadam, keras.optimizers.Adamax, keras.optimizers.Lamb),
    "rho": (keras.optimizers.RMSprop, keras.optimizers.Adadelta),
}
_AVERAGE = "ema_momentum"


def scale_decay_constants(optimizer: keras.optimizers.Optimizer, ratio: float) -> None:
    """Let an optimizer's decay constants keep their half-life in examples.

        beta_2(B) = beta_2(B_ref)**(B/B_ref)

    likewise `rho` of RMSprop and Adadelta, and `ema_momentum` where weights are averaged. beta_1 and momentum stay,
    because they are what helps at large batch sizes; so does everything of optimizers without a second moment.

    Args:
        optimizer: Not built yet: the constants are compiled into its updates.
        ratio: B/B_ref.

    Raises:
        ValueError: If the optimizer has been built already.

    Source: Marek et al., Small Batch Size Training for Language Models (2025), for beta_2; Busbridge et al., How to
        Scale Your EMA (2023), for the average.
    """
    if optimizer.built:
        raise ValueError("Decay constants can follow the batch size only before the optimizer is built; compile anew.")
    for name, value in decay_constants(optimizer).items():
        setattr(optimizer, name, value**ratio)


def decay_constants(optimizer: keras.optimizers.Optimizer) -> dict[str, float]:
    """Return the constants that follow the batch size, by name; empty for an optimizer that has none."""
    names = [name for name, classes in _SECOND_MOMENT.items() if isinstance(optimizer, classes)]
    names += [_AVERAGE] if optimizer.use_ema else []
    return {name: float(getattr(optimizer, name)) for name in names}
