"""A `HyperModel.fit` of the user's own: driven where it calls `model.fit`, refused in one line where it cannot be."""

import keras_tuner
import numpy as np
import pytest
from training_helpers import Recorder, dense_model, make_data, make_trial

from tuning.loops.own_fit import OWN_LOOP, read_call
from tuning.loops.session import TrainingSession
from tuning.messages import DescribeRequest
from tuning.trial import Status


def hypermodel(fit):
    class Mine(keras_tuner.HyperModel):
        def build(self, hp):
            return dense_model()

    Mine.fit = fit
    return Mine()


def train(fit, trial=None):
    recorder = Recorder()
    outcome = TrainingSession(hypermodel(fit), make_data()).train(trial or make_trial(8), recorder)
    return outcome, recorder.history


def plainly(self, hp, model, *args, **kwargs):
    return model.fit(*args, batch_size=hp.get("batch_size"), **kwargs)


@pytest.mark.parametrize("loop", ["auto", "keras", "device", "xla"])
def test_a_driven_fit_trains_to_the_numbers_of_one_that_is_left_alone(loop):
    outcome, history = train(plainly, make_trial(8, loop=loop))
    assert outcome.status is Status.COMPLETED, outcome.log_tail
    assert outcome.loop == {"auto": "device"}.get(loop, loop)
    expected = Recorder()
    TrainingSession(dense_model, make_data()).train(make_trial(8, loop=outcome.loop), expected)
    for found, plain in zip(history, expected.history, strict=True):
        assert found == pytest.approx(plain, rel=1e-6)


def test_data_that_fit_has_changed_are_what_is_trained_on():
    def doubling(self, hp, model, x, y, **kwargs):
        return model.fit(2 * x, y, **kwargs)

    assert train(doubling)[1] != train(plainly)[1]


def test_an_order_that_is_not_shuffled_is_that_of_the_data():
    def unshuffled(self, hp, model, *args, **kwargs):
        return model.fit(*args, shuffle=False, **kwargs)

    first, again = (train(unshuffled, make_trial(25, seed=0))[1] for _ in range(2))
    assert first == again
    assert first != train(plainly, make_trial(25, seed=0))[1]


REFUSED = {
    "another batch size": ({"batch_size": 16}, "batch size of its trial, 8; got 16"),
    "other epochs": ({"epochs": 9}, "epochs of its trial, 3; got 9"),
    "a split": ({"validation_split": 0.5}, "got validation_split"),
    "steps": ({"steps_per_epoch": 3}, "got steps_per_epoch"),
}


@pytest.mark.parametrize(("changes", "told"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_kept_fair_is_refused_with_the_way_out(changes, told):
    def changed(self, hp, model, *args, **kwargs):
        return model.fit(*args, **{**kwargs, **changes})

    outcome, _ = train(changed)
    assert outcome.status is Status.FAILED
    assert told in outcome.reason


def test_a_second_call_is_refused():
    def twice(self, hp, model, *args, **kwargs):
        model.fit(*args, **kwargs)
        return model.fit(*args, **kwargs)

    assert "must call model.fit once" in train(twice)[0].reason


def test_a_fit_that_tells_nothing_is_refused():
    outcome, _ = train(lambda self, hp, model, *args, **kwargs: None)
    assert "or return a score; got None" in outcome.reason


@pytest.mark.parametrize(
    ("returned", "metrics"), [(0.5, {"default_objective": 0.5}), ({"a": 1, "b": 2.0}, {"a": 1.0, "b": 2.0})]
)
def test_a_score_that_is_returned_is_the_last_epochs(returned, metrics):
    outcome, history = train(lambda self, hp, model, *args, **kwargs: returned)
    assert (outcome.status, outcome.loop) == (Status.COMPLETED, OWN_LOOP)
    assert history == [metrics]


def test_what_fit_declares_is_learnt_without_training():
    trained = []

    def declaring(self, hp, model, *args, **kwargs):
        history = model.fit(*args, batch_size=hp.Choice("batch_size", [10, 20]), **kwargs)
        trained.append(hp)
        return history

    session = TrainingSession(hypermodel(declaring), make_data())
    described = session.describe(DescribeRequest("d", {}))
    assert [entry.name for entry in described.entries] == ["batch_size"]
    assert not described.has_own_loop
    assert trained == []


def test_a_call_leaves_to_the_search_what_it_leaves_out():
    data = make_data()
    call = read_call(data, data.x_train, data.y_train)
    assert (call.batch_size, call.shuffled, call.callbacks) == (None, True, ())
    assert np.array_equal(call.data.x_val, data.x_val)
