"""beta_2 and its kin follow the batch size, in every loop, and are logged."""

import keras
import pytest
from training_helpers import Recorder, assert_same_history, dense_model, make_data, make_trial

from tuning.loops.model_builder import decay_constants, scale_decay_constants
from tuning.loops.session import TrainingSession
from tuning.trial import Status


def test_the_half_life_of_the_second_moment_is_constant_in_examples():
    optimizer = keras.optimizers.Adam(beta_2=0.999)
    scale_decay_constants(optimizer, 256 / 64)
    assert optimizer.beta_2 == pytest.approx(0.996006, abs=5e-7)
    assert optimizer.beta_1 == 0.9


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        (keras.optimizers.AdamW(beta_2=0.5), {"beta_2": 0.25}),
        (keras.optimizers.RMSprop(rho=0.5), {"rho": 0.25}),
        (keras.optimizers.SGD(momentum=0.5, use_ema=True, ema_momentum=0.5), {"ema_momentum": 0.25}),
        (keras.optimizers.SGD(momentum=0.5), {}),
        (keras.optimizers.Lion(beta_2=0.5), {}),
    ],
)
def test_each_optimizer_has_constants_of_its_own(optimizer, expected):
    scale_decay_constants(optimizer, 2.0)
    assert decay_constants(optimizer) == pytest.approx(expected)


def test_a_built_optimizer_is_refused():
    model = dense_model()
    model.optimizer.build(model.trainable_variables)
    with pytest.raises(ValueError, match="before the optimizer is built"):
        scale_decay_constants(model.optimizer, 2.0)


def train(loop, batch_size, session=None, **changes):
    recorder = Recorder()
    trial = make_trial(batch_size, loop=loop, **changes)
    outcome = (session or TrainingSession(dense_model, make_data())).train(trial, recorder)
    assert outcome.status is Status.COMPLETED, outcome.reason
    return outcome, recorder.history


def test_a_trial_trains_with_them_and_logs_them():
    outcome, history = train("keras", 8, betas_at=4)
    assert outcome.settings["beta_2"] == pytest.approx(0.999**2)
    plain, unscaled = train("keras", 8)
    assert "beta_2" not in plain.settings
    assert history != unscaled


def test_a_kept_program_never_serves_a_batch_size_of_other_constants():
    session = TrainingSession(dense_model, make_data())
    for batch_size in (4, 8, 4):
        outcome, history = train("device", batch_size, session, betas_at=4)
        assert outcome.settings["beta_2"] == pytest.approx(0.999 ** (batch_size / 4))
        assert_same_history(history, train("keras", batch_size, betas_at=4)[1], rtol=1e-4, atol=1e-5)
