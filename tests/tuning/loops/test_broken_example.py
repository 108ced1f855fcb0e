"""A training that fails on an example that cannot be loaded says which."""

from __future__ import annotations

import itertools
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from training_helpers import Recorder, make_trial

from search_spaces.data import Data
from tuning.loops.arrays import as_keras_sees_them
from tuning.loops.broken_example import broken_example
from tuning.loops.session import TrainingSession
from tuning.trial import Status

COUNT, BROKEN = 150, 90
OPENS = "It is raised by "


def read(path, label):
    return tf.cast(tf.ensure_shape(tf.io.decode_png(tf.io.read_file(path), 1), (2, 2, 1)), tf.float32), label


@pytest.fixture
def paths(tmp_path: Path) -> np.ndarray:
    """Files of images, of which one holds none."""
    image = tf.io.encode_png(np.zeros((2, 2, 1), "uint8")).numpy()
    for number in range(COUNT):
        (tmp_path / f"{number}.png").write_bytes(b"no image" if number == BROKEN else image)
    return np.array([f"{tmp_path}/{number}.png" for number in range(COUNT)])


def model():
    made = keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
    made.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return made


def reason_of(data: Data) -> str:
    outcome = TrainingSession(model, data).train(make_trial(8, epochs=2, loop="keras"), Recorder())
    assert outcome.status is Status.FAILED
    return outcome.reason


def test_the_reason_names_the_key_of_the_example(paths: np.ndarray) -> None:
    labels = np.zeros(COUNT, "int64")
    whole = np.delete(paths, BROKEN)
    told = reason_of(Data(paths, labels, whole[:4], labels[:4], load=read))
    assert told.endswith(f" {OPENS}x_train[{BROKEN}], {str(paths[BROKEN])!r}.")
    told = reason_of(Data(whole[:20], labels[:20], paths, labels, load=read))
    assert told.endswith(f" {OPENS}x_val[{BROKEN}], {str(paths[BROKEN])!r}.")


def test_another_failure_names_none(paths: np.ndarray) -> None:
    whole = np.delete(paths, BROKEN)[:20]
    beyond = np.full(20, 7)
    assert OPENS not in reason_of(Data(whole, beyond, whole, beyond, load=read))


def test_it_is_looked_for_during_some_seconds_alone(paths: np.ndarray) -> None:
    labels = np.zeros(COUNT, "int64")
    arrays = as_keras_sees_them(Data(paths, labels, paths, labels, load=read), None)
    assert broken_example(arrays, 0).startswith(f"x_train[{BROKEN}],")
    assert broken_example(arrays, 0, now=itertools.count(step=6.0).__next__) == ""
