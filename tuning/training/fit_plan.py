"""What a loop hands to Keras's own `fit`: the model with its train function installed, and the arguments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import keras
import tensorflow as tf

from tuning.training.clock import TrainingClock
from tuning.trial import HyperparameterValue


@dataclass(frozen=True)
class FitPlan:
    """One training, ready for `model.fit(**arguments, epochs=..., callbacks=...)`.

    Args:
        model: The model to train; `train_function` is the loop's.
        arguments: Of `fit`: the data, the steps of an epoch and the validation.
        clock: Times the training steps.
        loop: "keras", "device" or "xla".
        compile_seconds: Spent before `fit` on tracing, compiling and choosing.
        settings: What else was decided, such as `steps_per_execution`.
        measurements: What the deciding measured.
    """

    model: keras.Model
    arguments: Mapping[str, Any]
    clock: TrainingClock
    loop: str
    compile_seconds: float = 0.0
    settings: Mapping[str, HyperparameterValue] = field(default_factory=dict)
    measurements: Mapping[str, float] = field(default_factory=dict)


def placeholder_data() -> tf.data.Dataset:
    """An endless dataset for a `fit` whose train function brings its own data."""
    return tf.data.Dataset.from_tensors(0).repeat()
