"""The private names of TensorFlow 2.21 that this package uses, each with why, and with what is done without it."""

from __future__ import annotations

import random
from typing import Any

import tensorflow as tf

try:
    from tensorflow.python.eager import context
except ImportError:
    context = None
try:
    from tensorflow.python.framework.ops import gradient_registry
except ImportError:
    gradient_registry = None
try:
    from tensorflow.python.client import device_lib
except ImportError:
    device_lib = None


class EagerSeed:
    """Seeds TensorFlow's eager context without emptying its kernel cache.

    `tf.random.set_seed` empties it, so that no random kernel goes on where it was; every kept program would be
    instantiated anew, 0.1 s per trial of a small model (measured). Only stateful random operations that run eagerly,
    such as `tf.random.normal` in a build function, need that. They draw their seeds from the context's generator, which
    tells: where `was_used` is true, seed again by `tf.random.set_seed` and start over. Where the context has no such
    generator, `tf.random.set_seed` is called at once, and `was_used` stays false.

    Args:
        seed: The seed.
    """

    def __init__(self, seed: int) -> None:
        self._context = _context_with_generator()
        if self._context is None:
            tf.random.set_seed(seed)
            return
        self._context._seed = seed
        self._context._rng = random.Random(seed)
        self._unused = self._context._rng.getstate()

    @property
    def was_used(self) -> bool:
        """Whether a stateful random operation has run eagerly since."""
        return self._context is not None and bool(self._context._rng.getstate() != self._unused)


def _context_with_generator() -> Any:
    found = context.context() if context is not None else None
    # the generator itself is there only once a seed was set
    return found if hasattr(found, "_seed") and hasattr(found, "_internal_operation_seed") else None


class CustomGradients:
    """The gradients of `tf.custom_gradient` that tracing has registered since this was created.

    TensorFlow 2.21 registers one under a new name each time, for ever, and each keeps its whole graph alive. Every
    Keras optimizer brings one, so each traced `train_step` of even a small model would leak 4.5 MB (measured;
    `clear_session` frees none of it). Without the registry nothing is forgotten, and a worker grows.
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
        registered: dict[str, Any] = getattr(gradient_registry, "_registry", {})
        return registered


def gpu_memory_limit() -> int:
    """Return the bytes that TensorFlow may take of each of its GPUs, the least of them; 0 where it has none.

    No public name tells it. Without the private one no data are placed on a GPU, as if it had no memory free.
    """
    if device_lib is None:
        return 0
    limits = [entry.memory_limit for entry in device_lib.list_local_devices() if entry.device_type == "GPU"]
    return int(min(limits, default=0))
