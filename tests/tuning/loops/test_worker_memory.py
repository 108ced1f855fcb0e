"""What a worker must give back between trials, lest hundreds of them fill its memory."""

import gc
import weakref

import keras
import pytest
from tensorflow.python.framework import ops
from training_helpers import CLASSES, FEATURES, dense_model, make_data, make_trial

from tuning.loops.program import ProgramCache
from tuning.loops.session import TrainingSession
from tuning.loops.tensorflow_private import CustomGradients
from tuning.trial import Status


class Held:
    """Stands for a program of so many bytes."""

    def __init__(self, nbytes=1):
        self.nbytes = nbytes


def registered():
    return set(ops.gradient_registry.list())


def wide_model(hp):
    model = keras.Sequential([keras.Input((FEATURES,)), keras.layers.Dense(hp.Int("units", 1, 99), activation="gelu")])
    model.add(keras.layers.Dense(CLASSES, activation="softmax"))
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def test_traced_gradients_are_forgotten_after_each_trial():
    session = TrainingSession(wide_model, make_data())
    before = registered()
    for index, loop in enumerate(("device", "keras", "device")):
        trial = make_trial(10, index, 1, trial_id=str(index), hyperparameters={"units": 3 + index}, loop=loop)
        assert session.train(trial, lambda _: True).status is Status.COMPLETED
    assert registered() == before


def test_what_was_registered_before_stays():
    keras.ops.logsumexp(keras.ops.ones(3))
    before = registered()
    CustomGradients().forget()
    assert registered() == before


def test_a_dropped_program_can_be_collected():
    cache = ProgramCache(free_bytes=10**9)
    first = Held()
    seen = weakref.ref(first)
    cache.keep("first", first)
    del first
    for name in range(20):
        cache.keep(str(name), Held())
    gc.collect()
    assert len(cache) < 20
    assert seen() is None


def test_programs_larger_than_their_share_are_dropped():
    cache = ProgramCache(free_bytes=100)
    for name in "abc":
        cache.keep(name, Held(nbytes=10**6))
    assert len(cache) == 1
    assert cache.take("c") is not None


@pytest.mark.parametrize("loop", ["device", "keras"])
def test_programs_still_serve_after_their_gradients_were_forgotten(loop):
    session = TrainingSession(dense_model, make_data())
    histories = []
    for name in ("a", "b"):
        reports = []
        outcome = session.train(
            make_trial(10, 0, 2, trial_id=name, loop=loop), lambda r, to=reports: to.append(r) or True
        )
        assert outcome.status is Status.COMPLETED, outcome.reason
        histories.append([report.metrics for report in reports])
    assert histories[0] == histories[1]
