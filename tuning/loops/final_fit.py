"""FinalFit: the training of a final model by plain Keras `fit`, kept on disk epoch by epoch."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from search_spaces.data import Data
from tuning.loops.arrays import as_keras_sees_them, first_examples
from tuning.loops.autologging import without_autologging
from tuning.loops.model_builder import evaluation_batch_size
from tuning.loops.optimizers import accumulate_gradients
from tuning.loops.user_callbacks import copies_for_trial, restored_epoch
from tuning.trial import Trial

_NAME = "final"
_EXAMPLES = 8


@dataclass(frozen=True)
class Fitted:
    """How a training went.

    Args:
        epochs: The metrics of each epoch.
        weights_epoch: The epoch whose weights the model has, from 1.
        n_train: The training examples of an epoch.
    """

    epochs: tuple[dict[str, float], ...]
    weights_epoch: int
    n_train: int

    @property
    def metrics(self) -> dict[str, float]:
        """Those of the weights that the model has."""
        return self.epochs[self.weights_epoch - 1]


class FinalFit:
    """Trains one model as a script of the user's own would, and writes it to a file.

    While it trains, the model of the last whole epoch lies beside the file, `NAME.partial.keras`, whatever ends it.

    Args:
        trial: The setting, the seed and the epochs.
        path: Where the model goes, a `.keras` file; what lies there is replaced in one piece, at the end.
    """

    def __init__(self, trial: Trial, path: Path) -> None:
        self._trial, self._path = trial, path
        self.partial = path.with_name(f"{path.stem}.partial.keras")

    @without_autologging()
    def run(
        self,
        model: keras.Model,
        data: Data,
        *,
        callbacks: Sequence[Any] = (),
        class_weight: Mapping[int, float] | None = None,
        verbose: Any = "auto",
    ) -> Fitted:
        """Train the model, write it, and return how that went.

        Args:
            model: Compiled for the trial, and not trained yet.
            data: Training and validation arrays.
            callbacks: Keras callbacks, which are copied.
            class_weight: Weight of each class in the training loss.
            verbose: As Keras's `fit` takes it.

        Raises:
            KeyboardInterrupt: On Ctrl-C; the model of the last whole epoch lies in `partial`.
        """
        self.partial.unlink(missing_ok=True)
        trial, micro = self._trial, self._trial.instructions.micro_batch_size
        if micro is not None:
            accumulate_gradients(model, trial.batch_size // micro)
        factor = trial.instructions.scaling.rate_factor(trial.learning_rate)
        copies = copies_for_trial(callbacks, _NAME, factor)
        arrays = as_keras_sees_them(data, None)
        x, y, sample_weight = (*arrays.train, None, None)[:3]
        history = model.fit(
            x,
            y,
            batch_size=micro or trial.batch_size,
            epochs=trial.budget.epochs,
            validation_data=arrays.validation,
            validation_batch_size=evaluation_batch_size(model, trial, arrays.n_val),
            sample_weight=sample_weight,
            class_weight=class_weight,
            callbacks=[*copies, _Keeper(self.partial)],
            verbose=verbose,
        )
        save(model, self._path)
        self.partial.unlink(missing_ok=True)
        epochs = [
            {name: float(np.mean(values[place])) for name, values in history.history.items()}
            for place in range(len(history.epoch))
        ]
        return Fitted(tuple(epochs), restored_epoch(copies) or len(epochs), arrays.n_train)


class _Keeper(keras.callbacks.Callback):
    """Keeps the model of the last whole epoch; the last one of all is kept by who trains it.

    Args:
        path: Where.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002  (Keras's signature)
        if epoch + 1 < self.params["epochs"]:
            save(self.model, self._path)


def some_predictions(model: keras.Model, data: Data) -> tuple[Any, Any]:
    """Return a few validation inputs and the model's predictions, as arrays or, where there are several, by name.

    Args:
        model: Trained.
        data: The arrays that it was trained on.
    """
    inputs = first_examples(data.validation, _EXAMPLES)[0]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "__array__ implementation doesn't accept a copy", DeprecationWarning)
        outputs = model.predict(inputs, verbose=0)
    return _by_name(inputs, "input"), _by_name(outputs, "output")


def _by_name(arrays: Any, kind: str) -> Any:
    if isinstance(arrays, Mapping):
        return {name: _plain(array) for name, array in arrays.items()}
    if isinstance(arrays, list | tuple):
        return {f"{kind}_{place}": _plain(array) for place, array in enumerate(arrays)}
    return _plain(arrays)


def _plain(array: Any) -> Any:
    """Return an array; texts, which may come as objects, as texts."""
    found = np.asarray(array)
    return found.astype(str) if found.dtype.kind == "O" else found


def save(model: keras.Model, path: Path) -> None:
    """Write a model, so that the path holds either what it held or the whole model."""
    unfinished = path.with_name(f".{path.stem}.{os.getpid()}.keras")
    try:
        with warnings.catch_warnings():
            # keras 3.15.1 converts variables by np.array(variable), which numpy 2 deprecates
            warnings.filterwarnings("ignore", "__array__ implementation doesn't accept a copy", DeprecationWarning)
            model.save(unfinished)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
