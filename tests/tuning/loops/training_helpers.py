"""Small data, models and a reference training for the tests of `tuning.loops`."""

import keras
import numpy as np
import tensorflow as tf

from search_spaces.data import Data
from search_spaces.space import Setting, as_pairs
from tuning.instructions import Budget, Instructions
from tuning.loops.order import ExampleOrder
from tuning.trial import Trial

N_TRAIN, N_VAL, FEATURES, CLASSES = 50, 22, 6, 3


def make_data(seed=0, **weights):
    """Three Gaussian classes that a small model can learn."""
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(CLASSES, FEATURES)) * 2
    y = generator.integers(0, CLASSES, N_TRAIN + N_VAL)
    x = (centres[y] + generator.normal(size=(len(y), FEATURES))).astype("float32")
    return Data(x[:N_TRAIN], y[:N_TRAIN], x[N_TRAIN:], y[N_TRAIN:], **weights)


def dense_model(optimizer="adam", **compile_arguments):
    model = keras.Sequential(
        [
            keras.Input((FEATURES,)),
            keras.layers.Dense(8, activation="relu"),
            keras.layers.Dense(CLASSES, activation="softmax"),
        ]
    )
    arguments = {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"], **compile_arguments}
    model.compile(optimizer, **arguments)
    return model


def make_trial(
    batch_size=8, seed=0, epochs=3, *, trial_id="t", learning_rate=None, hyperparameters=None, goal=None, **instructions
):
    """A trial from plain numbers; `loop` and the other instructions by name."""
    return Trial(
        Setting(batch_size, learning_rate, as_pairs(hyperparameters or {})),
        seed,
        budget=Budget(epochs, goal),
        trial_id=trial_id,
        instructions=Instructions(**instructions),
    )


def plain_fit_history(model, data, trial):
    """What plain `fit` logs on the same order of examples, in full batches.

    One call of `fit` where every epoch has the same number of updates; else one per epoch, which Keras would end by
    finalising the optimizer, so that averaged weights do not belong there.
    """
    order = ExampleOrder(data.n_train, trial.batch_size, trial.seed)
    rows = [order.rows(epoch) for epoch in range(trial.budget.epochs)]
    validation = {"validation_data": data.validation, "validation_batch_size": trial.instructions.evaluation_batch_size}
    if len({len(block) for block in rows}) == 1:
        steps = {"steps_per_epoch": len(rows[0]), "epochs": trial.budget.epochs}
        logs = model.fit(_batches(np.concatenate(rows), data), shuffle=False, verbose=0, **steps, **validation).history
        return [{name: values[epoch] for name, values in logs.items()} for epoch in range(trial.budget.epochs)]
    history = []
    for epoch, block in enumerate(rows):
        only = {"initial_epoch": epoch, "epochs": epoch + 1}
        logs = model.fit(_batches(block, data), shuffle=False, verbose=0, **only, **validation).history
        history.append({name: values[0] for name, values in logs.items()})
    return history


def _batches(rows, data):
    return tf.data.Dataset.from_tensor_slices(rows).map(
        lambda row: tf.nest.map_structure(lambda leaf: tf.gather(leaf, row), data.train)
    )


class Recorder:
    """A `report` that keeps every epoch, and asks to stop after `stop_after` of them."""

    def __init__(self, stop_after=None):
        self.epochs = []
        self._stop_after = stop_after

    def __call__(self, epoch):
        self.epochs.append(epoch)
        return len(self.epochs) != self._stop_after

    @property
    def history(self):
        return [dict(epoch.metrics) for epoch in self.epochs]


def assert_same_history(history, expected, *, rtol=1e-5, atol=1e-6):
    assert len(history) == len(expected)
    for epoch, (logs, expected_logs) in enumerate(zip(history, expected, strict=True)):
        assert logs.keys() == expected_logs.keys()
        for name, value in expected_logs.items():
            np.testing.assert_allclose(logs[name], value, rtol=rtol, atol=atol, err_msg=f"{name} of epoch {epoch}")
