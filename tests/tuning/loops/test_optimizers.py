"""What follows the batch size: rates, schedules, weight decay, beta_2 and its kin, in every loop, and logged."""

import keras
import pytest
from training_helpers import Recorder, assert_same_history, dense_model, make_data, make_trial

from search_spaces.scaling import Scaling
from tuning.loops.optimizers import (
    decay_constants,
    highest_rate,
    length_in_updates,
    optimizer_kind,
    own_learning_rate,
    rescaled,
    scale_decay_constants,
    scale_to,
    schedule_of,
    weight_decays,
)
from tuning.loops.session import TrainingSession
from tuning.trial import Status

schedules = keras.optimizers.schedules


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


FROM_4 = Scaling(4, decay_constants=True)


def train(loop, batch_size, session=None, **changes):
    recorder = Recorder()
    trial = make_trial(batch_size, loop=loop, **changes)
    outcome = (session or TrainingSession(dense_model, make_data())).train(trial, recorder)
    assert outcome.status is Status.COMPLETED, outcome.reason
    return outcome, recorder.history


def test_a_trial_trains_with_them_and_logs_them():
    outcome, history = train("keras", 8, scaling=FROM_4)
    assert outcome.settings["beta_2"] == pytest.approx(0.999**2)
    plain, unscaled = train("keras", 8)
    assert "beta_2" not in plain.settings
    assert history != unscaled


def test_a_kept_program_never_serves_a_batch_size_of_other_constants():
    session = TrainingSession(dense_model, make_data())
    for batch_size in (4, 8, 4):
        outcome, history = train("device", batch_size, session, scaling=FROM_4)
        assert outcome.settings["beta_2"] == pytest.approx(0.999 ** (batch_size / 4))
        assert_same_history(history, train("keras", batch_size, scaling=FROM_4)[1], rtol=1e-4, atol=1e-5)


SCHEDULES = {
    "cosine": schedules.CosineDecay(0.1, 100, alpha=0.1),
    "cosine with warm-up": schedules.CosineDecay(0.0, 100, warmup_target=0.2, warmup_steps=20),
    "cosine with restarts": schedules.CosineDecayRestarts(0.1, 30, t_mul=2.0, m_mul=0.5),
    "exponential": schedules.ExponentialDecay(0.1, 30, 0.5),
    "exponential staircase": schedules.ExponentialDecay(0.1, 32, 0.5, staircase=True),
    "inverse time": schedules.InverseTimeDecay(0.1, 30, 0.5),
    "piecewise": schedules.PiecewiseConstantDecay([32, 96], [0.1, 0.01, 0.001]),
    "polynomial": schedules.PolynomialDecay(0.1, 100, 0.01, power=2.0),
    "polynomial cycle": schedules.PolynomialDecay(0.1, 33, 0.01, cycle=True),
}
EXAMPLES = [128 * i for i in range(40)]


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("batch_size", [8, 32, 128])
def test_a_schedule_is_one_curve_of_examples_at_every_batch_size(name, batch_size):
    schedule = SCHEDULES[name]
    found = rescaled(schedule, rates=3.0, counts=32 / batch_size)
    rates = [float(found(examples // batch_size)) for examples in EXAMPLES]
    assert rates == pytest.approx([3.0 * float(schedule(examples // 32)) for examples in EXAMPLES], rel=1e-5)


def test_the_highest_rate_of_a_schedule_is_its_own():
    assert [highest_rate(SCHEDULES[name]) for name in ("cosine", "cosine with warm-up", "piecewise", "polynomial")] == [
        0.1,
        0.2,
        0.1,
        0.1,
    ]


def test_only_schedules_that_end_have_a_length():
    lengths = {name: length_in_updates(schedule) for name, schedule in SCHEDULES.items()}
    ended = {name: length for name, length in lengths.items() if length is not None}
    assert ended == {"cosine": 100.0, "cosine with warm-up": 120.0, "polynomial": 100.0}


class Halving(schedules.LearningRateSchedule):
    """A schedule that is none of Keras's, and cannot even be serialized."""

    def __call__(self, step):
        return 0.1 / (1.0 + step)


class Nesterov(keras.optimizers.SGD):
    """An optimizer of the user's own."""


def test_an_unknown_schedule_is_left_alone():
    model = dense_model(keras.optimizers.SGD(Halving()))
    assert own_learning_rate(model) is None
    scale_to(model, make_trial(8, scaling=Scaling(schedule_at=32)), sets_own_rate=False, scales_own_schedule=False)
    assert isinstance(schedule_of(model), Halving)
    with pytest.raises(ValueError, match=r"or a schedule of Keras; got 0\.1 for a Halving"):
        scale_to(model, make_trial(8, learning_rate=0.1), sets_own_rate=False, scales_own_schedule=False)


def test_an_heir_of_an_optimizer_is_of_its_kind():
    assert optimizer_kind(dense_model(Nesterov())) == "SGD"
    assert optimizer_kind(dense_model(keras.optimizers.LossScaleOptimizer(keras.optimizers.Lion()))) == "Lion"


def scaled_model(
    optimizer, batch_size, *, sets_own_rate=False, scales_own_schedule=False, learning_rate=None, **scaling
):
    model = dense_model(optimizer)
    trial = make_trial(batch_size, learning_rate=learning_rate, scaling=Scaling(**scaling))
    scale_to(model, trial, sets_own_rate=sets_own_rate, scales_own_schedule=scales_own_schedule)
    return model


def test_a_schedule_takes_the_trials_rate_as_its_highest():
    cosine = schedules.CosineDecay(0.0, 100, warmup_target=0.2, warmup_steps=20)
    model = scaled_model(keras.optimizers.SGD(cosine), 8, learning_rate=0.1, schedule_at=32.0)
    config = schedule_of(model).get_config()
    assert (config["warmup_target"], config["warmup_steps"], config["decay_steps"]) == (0.1, 80, 400)


def test_a_build_function_that_took_the_rate_keeps_it_and_one_that_took_the_batch_size_keeps_its_schedule():
    cosine = schedules.CosineDecay(0.1, 100)
    taken = scaled_model(keras.optimizers.SGD(cosine), 8, learning_rate=0.3, schedule_at=32.0, sets_own_rate=True)
    config = schedule_of(taken).get_config()
    assert (config["initial_learning_rate"], config["decay_steps"]) == (0.1, 400)
    own = scaled_model(keras.optimizers.SGD(cosine), 8, schedule_at=32.0, scales_own_schedule=True)
    assert schedule_of(own) is cosine


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        (keras.optimizers.AdamW(weight_decay=0.004), {"weight_decay": 0.008}),
        (keras.optimizers.SGD(weight_decay=0.01), {"weight_decay": 0.02}),
        (
            keras.optimizers.Muon(weight_decay=0.1, adam_weight_decay=0.2),
            {"weight_decay": 0.2, "adam_weight_decay": 0.4},
        ),
        (keras.optimizers.Adam(), {}),
    ],
)
def test_weight_decay_shrinks_weights_alike_in_an_epoch(optimizer, expected):
    # four times the batch size, twice the rate: a quarter of the updates, each with twice the rate times the decay
    model = scaled_model(optimizer, 128, learning_rate=0.002, reference_rate=0.001, weight_decay=True)
    assert weight_decays(model.optimizer) == pytest.approx(expected)


def test_weight_decay_stays_where_nobody_asks():
    model = scaled_model(keras.optimizers.AdamW(weight_decay=0.004), 128, learning_rate=0.002, reference_rate=0.001)
    assert weight_decays(model.optimizer) == {"weight_decay": 0.004}


def test_a_trial_logs_the_decay_that_it_trained_with():
    scaling = Scaling(4, reference_rate=0.001, weight_decay=True)
    session = TrainingSession(lambda: dense_model(keras.optimizers.AdamW(weight_decay=0.004)), make_data())
    outcome = session.train(make_trial(8, learning_rate=0.001, scaling=scaling), Recorder())
    assert outcome.settings["weight_decay"] == pytest.approx(0.008)
