"""The private parts of Keras 3.15 and TensorFlow 2.21 that this package uses, all in one place, each with why."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras.src.backend.common import global_state
from keras.src.random import seed_generator
from keras.src.utils import rng_utils
from keras.src.utils.naming import reset_uids
from tensorflow.python.eager import context
from tensorflow.python.framework import ops


def every_layer(model: keras.Model) -> list[keras.layers.Layer]:
    """The model and all its layers, however nested; `model.layers` lists only those directly below a model."""
    return list(model._flatten_layers())


def takes_training(model: keras.Model) -> bool:
    """Whether the model's `call` takes `training`; Keras's own train step asks the same attribute."""
    return bool(model._call_has_training_arg)


def compile_arguments(model: keras.Model) -> Mapping[str, Any]:
    """The objects that `compile` was given; `get_compile_config` names functions only, not what they close over."""
    config: Mapping[str, Any] = model._compile_config.config
    return config


def restart_automatic_names() -> None:
    """Let automatic layer names count from the start again, since the names of logs and weights contain them.

    `keras.utils.clear_session` does that too, but also empties TensorFlow's kernel cache: every kept program would
    be instantiated anew, 0.1 s per trial of a small model (measured).
    """
    reset_uids()


class LightSeed:
    """Seeds Python, NumPy, Keras and TensorFlow as `keras.utils.set_random_seed`, but keeps TensorFlow's kernels.

    `tf.random.set_seed` empties the kernel cache, so that no random kernel goes on where it was; every kept program
    would be instantiated anew, 0.1 s per trial of a small model (measured). Only stateful random operations that run
    eagerly, such as `tf.random.normal` in a build function, need that. They draw their seeds from the context's
    generator, which tells: where `was_used` is true, seed again by `keras.utils.set_random_seed` and start over.

    Args:
        seed: The seed of all four.
    """

    def __init__(self, seed: int) -> None:
        global_state.set_global_attribute(rng_utils.GLOBAL_RANDOM_SEED, seed)
        global_state.set_global_attribute(seed_generator.GLOBAL_SEED_GENERATOR, None)
        random.seed(seed)
        np.random.seed(seed)
        self._context = context.context()
        self._context._seed = seed
        self._context._rng = random.Random(seed)
        self._unused = self._context._rng.getstate()

    @property
    def was_used(self) -> bool:
        """Whether a stateful random operation has run eagerly since."""
        return bool(self._context._rng.getstate() != self._unused)


class CustomGradients:
    """The gradients of `tf.custom_gradient` that tracing has registered since this was created.

    TensorFlow 2.21 registers one under a new name each time, for ever, and each keeps its whole graph alive. Every
    Keras optimizer brings one, so each traced `train_step` of even a small model would leak 4.5 MB (measured;
    `clear_session` frees none of it).
    """

    _PREFIX = "CustomGradient-"

    def __init__(self) -> None:
        self._before = frozenset(self._registered)

    def forget(self) -> None:
        """Drop them. What was traced meanwhile still runs; only a graph not yet differentiated would miss them."""
        for name in [name for name in self._registered if name.startswith(self._PREFIX)]:
            if name not in self._before:
                del self._registered[name]

    @property
    def _registered(self) -> dict[str, Any]:
        registered: dict[str, Any] = ops.gradient_registry._registry
        return registered
