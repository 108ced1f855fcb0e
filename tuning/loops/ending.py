"""The ending of a training: all that a longer one needs to go on from there as if it had never ended."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tuning.loops.arrays import TrainingArrays
from tuning.loops.keras_loop import is_distributed
from tuning.loops.keras_private import compile_arguments, every_layer
from tuning.loops.model_builder import ModelError
from tuning.loops.program import build_variables
from tuning.loops.state_file import read_state, write_state
from tuning.trial import Trial

_WITHOUT_MEMORY = (keras.callbacks.TerminateOnNaN, keras.callbacks.History)
_KNOWN = ("keras", "tuning")


def why_it_cannot_go_on(
    model: keras.Model, arrays: TrainingArrays, callbacks: Sequence[keras.callbacks.Callback], *, is_proven: bool
) -> str:
    """Return why a training could not go on from its variables to the same end, as a clause; empty where it could.

    Keras's own layers, losses and optimizers keep all that changes in variables, the state of their random numbers
    included. Other code may keep it anywhere, unless the traced graph proves that it does not.

    Args:
        model: As it was trained.
        arrays: What it trained on.
        callbacks: The user's.
        is_proven: Whether the traced program touches no state but the variables.
    """
    if arrays.stream is not None:
        return "a Stream can only be read from its beginning"
    if is_distributed(model):
        return "it trains under a tf.distribute strategy"
    remembering = [type(each).__name__ for each in callbacks if not isinstance(each, _WITHOUT_MEMORY)]
    if remembering:
        return f"nothing keeps what {remembering[0]} remembers"
    if getattr(model.optimizer, "use_ema", False):
        return "its optimizer puts averaged weights into the place of the last ones at the end"
    foreign = next(_foreign(model), None)
    if foreign is not None and not is_proven:
        return f"{foreign} may keep state of its own outside of Keras's variables"
    return ""


def keep_ending(path: Path, trial: Trial, model: keras.Model) -> None:
    """Write the state of a model that has just been trained.

    Args:
        path: From `state_file`.
        trial: The training, with the reports of all its epochs.
        model: Trained.
    """
    write_state(path, trial, [np.asarray(variable.value) for variable in _state_of(model)])


def go_on_from(path: Path, model: keras.Model, arrays: TrainingArrays) -> None:
    """Give a model, which was built for its trial and has not been trained, the state in which a training has ended.

    Args:
        path: From `state_file`.
        model: What is to be trained.
        arrays: What it will train on.

    Raises:
        ModelError: If the state is that of another model.
    """
    build_variables(model, arrays.training_examples(1))
    variables, kept = _state_of(model), read_state(path)
    if [_n_bytes(variable.value) for variable in variables] != [len(each) for each in kept]:
        raise ModelError(
            f"The build function must build the model that was trained before; its state in {path} has other "
            "variables. Search with --fresh, or under another name."
        )
    for variable, content in zip(variables, kept, strict=True):
        value = variable.value
        variable.value.assign(np.frombuffer(content.tobytes(), value.dtype.as_numpy_dtype).reshape(value.shape))


def _state_of(model: keras.Model) -> list[Any]:
    """Return all variables but those of metrics, which begin anew in every epoch."""
    of_metrics = {id(variable) for variable in model.metrics_variables}
    every = [*model.variables, *model.optimizer.variables]
    return list({id(each): each for each in every if id(each) not in of_metrics}.values())


def _n_bytes(value: tf.Variable) -> int:
    return int(value.dtype.size * value.shape.num_elements())


def _foreign(model: keras.Model) -> Iterator[str]:
    """Yield the classes and functions that train the model and are not Keras's own."""
    loss = compile_arguments(model).get("loss")
    parts: Iterable[Any] = [*every_layer(model), model.optimizer, *keras.tree.flatten(loss)]
    for part in parts:
        kind = type(part)
        if isinstance(part, str) or part is None:
            continue
        if isinstance(part, keras.layers.Lambda) or kind.__module__.partition(".")[0] not in _KNOWN:
            yield getattr(part, "__name__", kind.__name__)
