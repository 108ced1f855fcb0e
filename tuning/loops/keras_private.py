"""The private names of Keras 3.15 that this package uses, each with why, and with what is done without it."""

from __future__ import annotations

import inspect
import itertools
import random
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras.src.random import seed_generator
from keras.src.utils import rng_utils

from tuning.loops.tensorflow_private import EagerSeed

try:
    from keras.src.backend.common import global_state
except ImportError:
    global_state = None
try:
    from keras.src.utils.naming import reset_uids
except ImportError:
    reset_uids = None

UNLISTED_ATTRIBUTES = frozenset({"_functional", "_nested_inputs"})
"""What Keras keeps on some models beside the attributes of the plainest one; without it, programs are reused less."""

_unreadable = itertools.count()


def every_layer(model: keras.Model) -> list[keras.layers.Layer]:
    """Return the model and all its layers, however nested; `model.layers` lists only those directly below a model.

    Without the private method, those that are reached through `layers` alone: a layer that a wrapper holds is missed.
    """
    flatten = getattr(model, "_flatten_layers", None)
    return list(flatten()) if flatten is not None else list(_listed_layers(model))


def _listed_layers(layer: Any) -> list[Any]:
    below = [deeper for child in getattr(layer, "layers", ()) for deeper in _listed_layers(child)]
    return [layer, *below]


def takes_training(model: keras.Model) -> bool:
    """Return whether the model's `call` takes `training`; Keras's own train step asks the same attribute."""
    known = getattr(model, "_call_has_training_arg", None)
    return bool(known) if known is not None else "training" in inspect.signature(model.call).parameters


def learning_rate_object(optimizer: keras.optimizers.Optimizer) -> Any:
    """Return what an optimizer was given as its learning rate: a variable, a schedule or a function.

    The public property is the present value. Without the private name a schedule is taken to be unknown: left alone.
    """
    return getattr(optimizer, "_learning_rate", None)


def traces_batches(callback: keras.callbacks.TensorBoard) -> bool:
    """Return whether a `TensorBoard` callback profiles some batches; true where the private attribute is missing."""
    return bool(getattr(callback, "_should_trace", True))


def compile_arguments(model: keras.Model) -> Mapping[str, Any]:
    """Return the objects that `compile` was given; `get_compile_config` names functions only, not what they close over.

    Without the private attribute, something that no other model has, so that no program is ever used again.
    """
    config: Mapping[str, Any] | None = getattr(getattr(model, "_compile_config", None), "config", None)
    return config if config is not None else {"unreadable": next(_unreadable)}


def restart_automatic_names() -> None:
    """Let automatic layer names count from the start again, since the names of logs and weights contain them.

    `keras.utils.clear_session` does that too, but also empties TensorFlow's kernel cache: every kept program would
    be instantiated anew, 0.1 s per trial of a small model (measured). It is what is called without the private name.
    """
    if reset_uids is not None:
        reset_uids()
    else:
        keras.utils.clear_session(free_memory=False)


class LightSeed:
    """Seeds Python, NumPy, Keras and TensorFlow as `keras.utils.set_random_seed`, but keeps TensorFlow's kernels.

    Keras 3.8 to 3.14 keep the two values under the same names, though not all of them as constants. Without Keras's
    global state, `set_random_seed` itself is called.

    Args:
        seed: The seed of all four.
    """

    def __init__(self, seed: int) -> None:
        if global_state is None:
            keras.utils.set_random_seed(seed)
        else:
            names = _name(rng_utils, "GLOBAL_RANDOM_SEED"), _name(seed_generator, "GLOBAL_SEED_GENERATOR")
            for name, value in zip(names, (seed, None), strict=True):
                global_state.set_global_attribute(name, value)
            random.seed(seed)
            np.random.seed(seed)
        self._eager = EagerSeed(seed)

    @property
    def was_used(self) -> bool:
        """Whether a stateful random operation has run eagerly since; then start over with `set_random_seed`."""
        return self._eager.was_used


def _name(module: Any, constant: str) -> str:
    """Return a key of Keras's global state: the constant where there is one, else what it has always been."""
    return str(getattr(module, constant, constant.lower()))
