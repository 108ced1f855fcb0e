"""Labels that a loss takes without a word, or refuses only in mid training, and inputs that a model would cut short."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from search_spaces.data import Data, leaves
from tuning.loops.model_builder import ModelError

_SPARSE = {"sparse_categorical_crossentropy", "SparseCategoricalCrossentropy"}
_BINARY = {"binary_crossentropy", "bce", "BCE", "BinaryCrossentropy"}


def check_labels(model: keras.Model, data: Data) -> None:
    """Refuse labels that one of Keras's own losses for classes cannot mean.

    A CPU refuses a class out of range in the first batch that has one, a GPU makes its loss NaN (so its documents say),
    and of one class alone every batch size is right at once. Several outputs, and losses of the user's own, are not
    judged.

    Args:
        model: Compiled, and trained on a few examples before.
        data: What is trained and validated on, as the user gave it.

    Raises:
        ModelError: If a label is no class of the model, or all training labels are the same.
    """
    loss = model.loss
    name = loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)
    ignores = isinstance(loss, keras.losses.Loss) and loss.get_config().get("ignore_class") is not None
    for part, labels in (("y_train", data.y_train), ("y_val", data.y_val)):
        if not isinstance(labels, np.ndarray) or labels.dtype.kind not in "biuf" or ignores:
            continue
        if name in _SPARSE:
            _check_classes(part, labels, _classes_of(model))
        elif name in _BINARY and (labels.min() < 0 or labels.max() > 1):
            worst = labels.min() if labels.min() < 0 else labels.max()
            raise ModelError(
                f"Labels of a binary cross-entropy must lie between 0 and 1; {part} has {worst}. Encode them as 0 and "
                "1, or take another loss."
            )
    _check_variety(name, data.y_train)


def check_inputs(model: keras.Model, data: Data) -> None:
    """Refuse complex inputs of a model that takes real ones: Keras would drop the imaginary part.

    Raises:
        ModelError: If that would happen.
    """
    takes = {str(each.dtype) for each in getattr(model, "inputs", None) or ()}
    if takes and not any(dtype.startswith("complex") for dtype in takes):
        for leaf in leaves(data.x_train):
            if leaf.dtype.kind == "c":
                raise ModelError(
                    f"The model's inputs must keep what the data hold; got {leaf.dtype} for inputs of "
                    f"{', '.join(sorted(takes))}. Give the real and the imaginary part as columns."
                )


def _classes_of(model: keras.Model) -> int | None:
    outputs = getattr(model, "outputs", None)
    return outputs[0].shape[-1] if outputs and len(outputs) == 1 else None


def _check_classes(part: str, labels: np.ndarray[Any, Any], classes: int | None) -> None:
    if labels.dtype.kind == "f" and not np.equal(np.floor(labels), labels).all():
        odd = labels[np.floor(labels) != labels][0]
        raise ModelError(f"Labels must be whole numbers, the classes from 0; {part} has {odd}. Encode them.")
    worst = labels.min() if labels.min() < 0 else labels.max()
    if worst < 0 or (classes is not None and worst >= classes):
        most = "the last" if classes is None else str(classes - 1)
        raise ModelError(
            f"Labels must be classes from 0 to {most}, since the model has {classes or 'so many'} outputs; {part} has "
            f"{worst:g}. Encode them, or give the model more outputs."
        )


def _check_variety(name: str, labels: Any) -> None:
    if not isinstance(labels, np.ndarray) or labels.dtype.kind not in "biuf" or name not in _SPARSE | _BINARY:
        return
    if labels.size > 1 and labels.min() == labels.max():
        raise ModelError(
            f"Labels must name two classes or more, for nothing is learnt of one; all of y_train are {labels.flat[0]}. "
            "Take examples of other classes, too."
        )
