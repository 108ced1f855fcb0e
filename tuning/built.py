"""ScaledHyperModel: builds what a search decided, wherever a model is built of its hyperparameters."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import keras
import keras_tuner

from search_spaces.space import LEARNING_RATE_NAMES, RESERVED_NAMES, Setting, as_pairs
from tuning.instructions import Instructions
from tuning.loops.model_builder import WatchedHyperParameters, declared_learning_rate
from tuning.loops.optimizers import scale_to
from tuning.trial import Trial

_BATCH_SIZE = RESERVED_NAMES[0]


class ScaledHyperModel(keras_tuner.HyperModel):
    """A build function whose models have the learning rate, schedule and decay of their hyperparameters' batch size.

    `tuner.hypermodel.build(best_hp)` thus builds what the trial trained, not the model's own rate.

    Args:
        hypermodel: The user's: a `HyperModel`, `build_model(hp)` or `build_model()`.
        instructions: Tells what followed the batch size in the search.
    """

    def __init__(self, hypermodel: Any, instructions: Callable[[], Instructions]) -> None:
        super().__init__()
        self.given = hypermodel
        self._instructions = instructions

    def declare_hyperparameters(self, hp: Any) -> None:
        """Let the user's `HyperModel` declare what no build reads."""
        if hasattr(self.given, "declare_hyperparameters"):
            self.given.declare_hyperparameters(hp)

    def build(self, hp: Any) -> Any:
        """Return the compiled model of these hyperparameters.

        Args:
            hp: `keras_tuner.HyperParameters`; without a batch size among them the model is as the user builds it.
        """
        watched = WatchedHyperParameters(hp.values)
        watched.merge(hp, overwrite=False)
        model = self._call(watched)
        hp.merge(watched, overwrite=False)  # whoever builds expects to find there what the build function has declared
        size = hp.values.get(_BATCH_SIZE)
        if size is None or getattr(model, "optimizer", None) is None:
            return model
        rate = next((hp.values[name] for name in LEARNING_RATE_NAMES if name in hp.values), None)
        trial = Trial(Setting(int(size), rate, as_pairs({})), 0, instructions=self._instructions())
        took_rate = declared_learning_rate(watched) is not None
        scale_to(model, trial, sets_own_rate=took_rate, scales_own_schedule=watched.tells_batch_size)
        return model

    def build_for(self, trial: Trial) -> Any:
        """Return the compiled model of a training, with Keras's seed set to the training's before it is built.

        Raises:
            ValueError: If the build function raises, returns no compiled model, or trains by a `fit` of its own.
        """
        if isinstance(self.given, keras_tuner.HyperModel) and type(self.given).fit is not keras_tuner.HyperModel.fit:
            raise ValueError(
                f"A final training needs a model that Keras's own fit trains; got {type(self.given).__name__}, which "
                "has a fit of its own. Call that on tuner.build_recommended()."
            )
        hp = keras_tuner.HyperParameters()
        hp.values = {**dict(trial.hyperparameters), _BATCH_SIZE: trial.batch_size}
        if trial.learning_rate is not None:
            hp.values.update(dict.fromkeys(LEARNING_RATE_NAMES, trial.learning_rate))
        keras.utils.set_random_seed(trial.seed)
        try:
            model = self.build(hp)
        except Exception as error:
            raise ValueError(
                f"The build function must build a model; it raised {type(error).__name__}: {error}."
            ) from error
        if getattr(model, "optimizer", None) is None:
            raise ValueError(f"The build function must return a compiled model; got {model!r:.80}.")
        return model

    def _call(self, hp: Any) -> Any:
        if hasattr(self.given, "build"):
            return self.given.build(hp)
        return self.given(hp) if inspect.signature(self.given).parameters else self.given()
