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
from search_spaces.stream import TrainingData
from tuning.loops.arrays import DataPlacement, TrainingArrays, as_keras_sees_them, first_examples
from tuning.loops.autologging import without_autologging
from tuning.loops.callbacks import TrainingClock, TrialCallbacks
from tuning.loops.keras_loop import plan_fit
from tuning.loops.model_builder import evaluation_batch_size
from tuning.loops.optimizers import accumulate_gradients
from tuning.loops.order import ExampleOrder
from tuning.loops.program import build_variables
from tuning.loops.replicas import even_size, replicas_of
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

    Examples that are loaded, or that stream, come by the pipeline of the search, so that they are augmented alike.

    While it trains, the model of the last whole epoch lies beside the file, `NAME.partial.keras`, whatever ends it.

    Args:
        trial: The setting, the seed and the epochs.
        path: Where the model goes, a `.keras` file; what lies there is replaced in one piece, at the end.
    """

    def __init__(self, trial: Trial, path: Path) -> None:
        self._trial, self._path = trial, path
        self.partial = partial_of(path)

    @without_autologging()
    def run(
        self,
        model: keras.Model,
        data: TrainingData,
        *,
        callbacks: Sequence[Any] = (),
        class_weight: Mapping[int, float] | None = None,
        verbose: int = 1,
    ) -> Fitted:
        """Train the model, write it, and return how that went.

        Args:
            model: Compiled for the trial, and not trained yet.
            data: Training and validation arrays, the keys of examples with what loads them, or a stream.
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
        if isinstance(data, Data) and data.load is None:
            arrays = as_keras_sees_them(data, None)
            history = self._fit_arrays(model, arrays, copies, class_weight, verbose)
        else:
            arrays = as_keras_sees_them(data, class_weight)
            history = self._fit_pipeline(model, arrays, copies, verbose)
        save(model, self._path)
        self.partial.unlink(missing_ok=True)
        epochs = [
            {name: float(np.mean(values[place])) for name, values in history.history.items()}
            for place in range(len(history.epoch))
        ]
        return Fitted(tuple(epochs), restored_epoch(copies) or len(epochs), arrays.n_train)

    def _fit_arrays(
        self,
        model: keras.Model,
        arrays: TrainingArrays,
        callbacks: Sequence[Any],
        class_weight: Mapping[int, float] | None,
        verbose: int,
    ) -> Any:
        trial = self._trial
        x, y, sample_weight = (*arrays.train, None, None)[:3]
        return model.fit(
            x,
            y,
            batch_size=self._rows_of_a_step,
            epochs=trial.budget.epochs,
            validation_data=arrays.validation,
            validation_batch_size=evaluation_batch_size(model, trial, arrays.n_val),
            sample_weight=sample_weight,
            class_weight=class_weight,
            callbacks=[*callbacks, _Keeper(self.partial)],
            verbose=verbose,
        )

    def _fit_pipeline(self, model: keras.Model, arrays: TrainingArrays, callbacks: Sequence[Any], verbose: int) -> Any:
        trial = self._trial
        watching = TrialCallbacks([*callbacks, *([keras.callbacks.ProgbarLogger()] if verbose else [])])
        order = ExampleOrder(arrays.n_train, self._rows_of_a_step, trial.seed)
        clock = TrainingClock(counts_gaps=True, watching=watching)
        arguments = plan_fit(model, trial, DataPlacement(arrays), order, clock).arguments
        watching.attach(model, trial, _Keeper(self.partial), steps=arguments["steps_per_epoch"], verbose=verbose)
        return model.fit(**arguments, epochs=trial.budget.epochs, callbacks=watching, verbose=verbose)

    @property
    def _rows_of_a_step(self) -> int:
        return self._trial.instructions.micro_batch_size or self._trial.batch_size


def partial_of(path: Path) -> Path:
    """Return where the model of the last whole epoch lies while one is trained that goes to a path."""
    return path.with_name(f"{path.stem}.partial.keras")


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


def load_fitted(path: Path, model: keras.Model, data: TrainingData) -> None:
    """Give a model that has not been trained all variables of one that was, of its optimizer, too.

    Args:
        path: The `.keras` file of the trained one.
        model: Built by the same function, perhaps without its variables, since nothing has told it the inputs' shape.
        data: What the trained one trained on.
    """
    build_variables(model, as_keras_sees_them(data, None).training_examples(1))
    model.load_weights(path)


def some_predictions(model: keras.Model, data: TrainingData) -> tuple[Any, Any]:
    """Return a few validation inputs and the model's predictions, as arrays or, where there are several, by name.

    Args:
        model: Trained.
        data: What it was trained on.
    """
    arrays = as_keras_sees_them(data, None)
    if arrays.hold_examples:
        inputs = first_examples(arrays.validation, _EXAMPLES)[0]
    else:
        inputs = arrays.validation_examples(_EXAMPLES)[0]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "__array__ implementation doesn't accept a copy", DeprecationWarning)
        count = len(keras.tree.flatten(inputs)[0])
        outputs = model.predict(inputs, batch_size=even_size(_EXAMPLES, count, replicas_of(model)), verbose=0)
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
