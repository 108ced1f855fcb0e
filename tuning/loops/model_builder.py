"""Builds the user's model for one trial: seed, hyperparameters, learning rate, and the checks on what comes back."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import keras
import keras_tuner

from tuning.loops.failures import status_of_error
from tuning.loops.keras_private import LightSeed, restart_automatic_names
from tuning.loops.optimizers import accumulate_gradients, scale_to
from tuning.loops.replicas import Replicas, even_size, replicas_of
from tuning.trial import Status, Trial

LEARNING_RATE_NAMES = ("learning_rate", "lr")
"""The entries of `hp` that a build function may read the learning rate from."""

BATCH_SIZE_NAME = "batch_size"
"""The entry of `hp` by which a build function is told the batch size of its trial."""

_HP_NAMES = ("hp", "hps", "hyperparameters")


class ModelError(ValueError):
    """A build function that builds nothing usable; the message is one line with the rule, the value, the way out."""


class WatchedHyperParameters(keras_tuner.HyperParameters):
    """Hyperparameters that notice whether a build function takes the batch size from them.

    Args:
        values: By name; what a build declares beside them has its default.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__()
        self.values = dict(values)
        self._was_asked = False

    def get(self, name: str) -> Any:
        """Return the value of a hyperparameter."""
        self._was_asked |= name == BATCH_SIZE_NAME
        return super().get(name)

    @property
    def tells_batch_size(self) -> bool:
        """Whether the batch size was asked for, or declared, since the construction."""
        return self._was_asked or any(entry.name == BATCH_SIZE_NAME for entry in self.space)


class ModelBuilder:
    """Calls the user's build function as KerasTuner would, under a given seed.

    Args:
        hypermodel: A `keras_tuner.HyperModel`, `build_model(hp)` or `build_model()`.
        replicas: The cards that its models train on; None for one.
    """

    def __init__(self, hypermodel: Any, replicas: Replicas | None = None) -> None:
        self.hypermodel = hypermodel
        self.replicas = replicas or Replicas()
        # What the user's program set globally; a build may set another policy, which holds for that trial alone.
        self._dtype_policy = keras.config.dtype_policy()

    def check(self) -> None:
        """Refuse what cannot be searched.

        Raises:
            ModelError: If nothing can be called.
        """
        if not isinstance(self.hypermodel, keras_tuner.HyperModel) and not callable(self.hypermodel):
            raise ModelError(f"The model must come from a HyperModel or build_model(hp); got {self.hypermodel!r:.80}.")

    def declare(self, hp: keras_tuner.HyperParameters) -> None:
        """Let a `HyperModel` declare hyperparameters that no build reads."""
        if isinstance(self.hypermodel, keras_tuner.HyperModel):
            self.hypermodel.declare_hyperparameters(hp)

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
        with self.replicas.scope():
            model = self._call_checked(hp)
            if light.was_used:
                self._begin()
                keras.utils.set_random_seed(seed)
                model = self._call_checked(hp)
        if not isinstance(model, keras.Model):
            raise ModelError(f"The build function must return a keras.Model; got {model!r:.80}. Return the model.")
        if not (model.compiled and model.optimizer) and not self.has_own_fit:
            raise ModelError(
                f"The build function must return a compiled model; got {model.name!r} without an optimizer. "
                "Call model.compile(optimizer=..., loss=...) before returning it."
            )
        return model

    def restore_policy(self) -> None:
        """Set the dtype policy that held when this was created."""
        keras.config.set_dtype_policy(self._dtype_policy)

    def build_for(self, trial: Trial) -> keras.Model:
        """Return the model of one trial, with its learning rate set, and what else follows the batch size.

        Raises:
            ModelError: As `build`, or if the optimizer cannot be set so.
        """
        hp = self.hyperparameters_for(trial)
        model = self.build(hp, trial.seed)
        if not model.compiled:  # a `fit` of the user's own trains it by whatever it brings
            return model
        try:
            took_rate = declared_learning_rate(hp) is not None
            with self.replicas.scope():
                scale_to(model, trial, sets_own_rate=took_rate, scales_own_schedule=hp.tells_batch_size)
            if trial.accumulation_steps > 1:
                accumulate_gradients(model, trial.accumulation_steps)
        except ValueError as error:
            raise ModelError(str(error)) from error
        return model

    def hyperparameters_for(self, trial: Trial) -> WatchedHyperParameters:
        """Return what a build function, or a `fit` of the user's own, is handed as `hp` in a trial."""
        hp = WatchedHyperParameters({**dict(trial.hyperparameters), BATCH_SIZE_NAME: trial.batch_size})
        if trial.learning_rate is not None:
            hp.values.update(dict.fromkeys(LEARNING_RATE_NAMES, trial.learning_rate))
        return hp

    @property
    def has_own_fit(self) -> bool:
        """Whether it is a `HyperModel` that overrides `fit`."""
        kind = type(self.hypermodel)
        return isinstance(self.hypermodel, keras_tuner.HyperModel) and kind.fit is not keras_tuner.HyperModel.fit

    def _begin(self) -> None:
        restart_automatic_names()
        self.restore_policy()

    def _call_checked(self, hp: keras_tuner.HyperParameters) -> Any:
        try:
            return self._call(hp)
        except SystemExit as error:  # the worker would end, and nobody would know by what
            raise ModelError(f"The build function must build a model; it called sys.exit({error.code!r}).") from error
        except Exception as error:
            status, reason = status_of_error(error)
            if status is Status.OUT_OF_MEMORY:
                raise
            raise ModelError(
                f"The build function must build a model; it raised {reason.rstrip('.')}. Call it by itself to find "
                "out why."
            ) from error

    def _call(self, hp: keras_tuner.HyperParameters) -> Any:
        if isinstance(self.hypermodel, keras_tuner.HyperModel):
            return self.hypermodel.build(hp)
        return self.hypermodel(hp) if takes_hyperparameters(self.hypermodel) else self.hypermodel()


def static_batch_size(model: keras.Model) -> int | None:
    """Return the batch size that a model's input layer fixes, as for a stateful recurrence; None if it takes any."""
    inputs = getattr(model, "inputs", None)
    return inputs[0].shape[0] if inputs else None


def evaluation_batch_size(model: keras.Model, trial: Trial, n_val: int) -> int:
    """Return the examples of a validation step: those of the instructions, or what the model's input layer fixes.

    On several cards they may be a few less, so that the cards share them alike.

    Raises:
        ModelError: If the model takes one number alone, and that does not divide the validation examples.
        ValueError: If there are fewer validation examples than cards.
    """
    fixed = static_batch_size(model)
    if fixed is None:
        return even_size(trial.instructions.evaluation_batch_size, n_val, replicas_of(model))
    if n_val % fixed:
        raise ModelError(
            f"A model whose input layer fixes the batch size, here {fixed}, must be validated on a multiple of it; got "
            f"{n_val} examples. Trim them to a multiple of every batch size."
        )
    return fixed


def declared_learning_rate(hp: keras_tuner.HyperParameters) -> str | None:
    """Return the entry through which the build function reads its learning rate, or None."""
    declared = {entry.name for entry in hp.space}
    return next((name for name in LEARNING_RATE_NAMES if name in declared), None)


def takes_hyperparameters(function: Callable[..., Any]) -> bool:
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
