"""When two models compile to the same program: their signature."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from tuning.training.arrays import TrainingArrays, device_dtype
from tuning.training.fingerprint import fingerprint
from tuning.training.internals import compile_arguments, every_layer
from tuning.training.model_builder import LEARNING_RATE_NAMES

_SHORT = 16


def model_signature(
    model: keras.Model, hyperparameters: Mapping[str, Any], arrays: TrainingArrays, evaluation_batch_size: int
) -> str:
    """A short digest, equal only for models whose training compiles to the same program at a given batch size.

    It covers the architecture, what `compile` was given less a constant learning rate, the hyperparameters less the
    learning rate, and the shapes of the data; it leaves out the seed, the values of variables and the batch size.
    When in doubt it differs, and a program is compiled anew.
    """
    others = {name: value for name, value in hyperparameters.items() if name not in LEARNING_RATE_NAMES}
    compiled = {name: value for name, value in compile_arguments(model).items() if name != "optimizer"}
    layers = [(type(layer).__qualname__, layer.trainable, layer.dtype_policy.name) for layer in every_layer(model)]
    content = (
        every_layer(model),
        layers,
        model.optimizer,
        compiled,
        (model.jit_compile, model.run_eagerly),
        sorted(others.items()),
        keras.tree.map_structure(lambda leaf: (leaf.shape, str(device_dtype(leaf))), (arrays.train, arrays.validation)),
        evaluation_batch_size,
    )
    return fingerprint(content)[:_SHORT]
