"""The noise scale along a training, as a callback and as a probe."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from training_helpers import N_TRAIN, Recorder, dense_model, make_data, make_trial

from search_spaces.data import Data
from tuning.loops.noise_scale_probe import NoiseScaleCallback
from tuning.loops.session import TrainingSession
from tuning.noise_messages import NoiseScaleRequest, NoiseScales
from tuning.trial import Status


def test_it_measures_at_the_fractions_and_adds_to_the_epoch_s_logs():
    data, model = make_data(), dense_model("sgd")
    callback = NoiseScaleCallback(*data.train, fractions=(0.0, 0.5, 1.0), batch_size=10, micro_batch_size=4)
    history = model.fit(*data.train, batch_size=10, epochs=4, callbacks=[callback], verbose=0).history
    assert [point.at_examples for point in callback.points] == [0, 2 * N_TRAIN, 4 * N_TRAIN]
    assert all(point.trace_of_covariance > 0 for point in callback.points)
    measured = [point.value for point in callback.points if point.value is not None]
    assert set(history.get("noise_scale", [])) <= set(measured)


def test_training_is_the_same_with_it():
    data = make_data()

    def weights(callbacks):
        session = TrainingSession(dense_model, data, callbacks=callbacks)
        recorder = Recorder()
        outcome = session.train(make_trial(10, seed=3, epochs=3, loop="keras"), recorder)
        assert outcome.status is Status.COMPLETED, outcome
        return [{name: value for name, value in logs.items() if name != "noise_scale"} for logs in recorder.history]

    assert weights([]) == weights([NoiseScaleCallback(*data.train, micro_batch_size=4)])


def test_a_trial_reports_it_as_a_metric():
    data, recorder = make_data(), Recorder()
    callback = NoiseScaleCallback(*data.train, fractions=(0.0,), micro_batch_size=2)
    session = TrainingSession(lambda: dense_model("sgd"), data, callbacks=[callback])
    session.train(make_trial(10, seed=3, epochs=2, loop="keras"), recorder)
    assert recorder.history[0]["noise_scale"] > 0
    assert "noise_scale" not in recorder.history[1]


def test_a_copy_shares_the_arrays():
    data = make_data()
    callback = NoiseScaleCallback(*data.train)
    assert np.shares_memory(copy.deepcopy(callback)._train[0], data.x_train)


def test_a_fraction_beyond_the_training_is_refused():
    with pytest.raises(ValueError, match=r"between 0 and 1; got \(0\.5, 1\.5\)"):
        NoiseScaleCallback(np.zeros((9, 1)), np.zeros(9), fractions=(0.5, 1.5))


def test_a_probe_trains_as_far_as_asked():
    session = TrainingSession(dense_model, make_data())
    found = session.probe(NoiseScaleRequest("n", batch_size=10, updates=12, micro_batch_size=4))
    assert isinstance(found, NoiseScales), found
    assert [point.at_examples for point in found.points] == [0, 30, 60, 120]


def test_data_without_targets_have_no_noise_scale():
    data = make_data()
    session = TrainingSession(dense_model, Data(data.x_train, None, data.x_val, None))
    outcome = session.probe(NoiseScaleRequest("n", batch_size=8, updates=4))
    assert outcome.reason == "it is measured by the compiled loss on targets, and these data have none"
