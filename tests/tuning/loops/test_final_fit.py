"""The final training of examples that are made as they are needed is that of a trial in the search."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import keras
import pytest
import tensorflow as tf
from training_helpers import N_TRAIN, N_VAL, Recorder, dense_model, make_data, make_trial

from search_spaces.data import Data
from search_spaces.stream import Stream
from tuning.loops.final_fit import FinalFit
from tuning.loops.session import TrainingSession

ARRAYS = make_data()
CLASS_WEIGHT = {0: 2.0, 2: 0.5}


def noisy(x, y, seed):
    return x + 0.1 * tf.random.stateless_normal(tf.shape(x), seed), y


def loaded():
    parts = (ARRAYS.x_train, ARRAYS.y_train, ARRAYS.x_val, ARRAYS.y_val)
    return Data(*parts, load=noisy, load_val=lambda x, y: (x, y))


def streamed():
    def train(seed):
        return tf.data.Dataset.from_tensor_slices((ARRAYS.x_train, ARRAYS.y_train)).shuffle(N_TRAIN, seed=seed)

    def validation():
        return tf.data.Dataset.from_tensor_slices((ARRAYS.x_val, ARRAYS.y_val))

    return Stream(train, validation, N_TRAIN, N_VAL, identity="made up")


class Updates(keras.callbacks.Callback):
    """Counts in a list, which copies share."""

    counted: ClassVar[list[int]] = []

    def on_train_batch_end(self, batch, logs=None):
        self.counted.append(batch)


@pytest.mark.parametrize("make", [loaded, streamed])
@pytest.mark.parametrize("class_weight", [None, CLASS_WEIGHT])
def test_what_is_made_as_it_is_needed_trains_as_in_a_trial(tmp_path: Path, make, class_weight) -> None:
    trial, recorder = make_trial(7, epochs=3, loop="keras", seed=3), Recorder()
    TrainingSession(dense_model, make(), fit_options={"class_weight": class_weight}).train(trial, recorder)
    keras.utils.set_random_seed(trial.seed)
    Updates.counted.clear()
    training = FinalFit(trial, tmp_path / "model.keras")
    found = training.run(dense_model(), make(), callbacks=[Updates()], class_weight=class_weight, verbose=0)
    assert found.metrics == pytest.approx(recorder.history[-1], rel=1e-6)
    assert len(Updates.counted) == 3 * N_TRAIN // 7
