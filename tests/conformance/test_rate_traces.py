"""Learning rates, update by update: schedules are one curve of examples, and callbacks act as they do under `fit`."""

import math

import keras
import pytest
from kinds import perceptron
from plain import EVALUATION, SEED, plain_fit
from small_data import N_TRAIN, table

from search_spaces.scaling import Scaling
from search_spaces.space import Setting
from tuning.instructions import Budget, Instructions
from tuning.loops.session import TrainingSession
from tuning.trial import Status, Trial

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")  # Keras 3.15 with numpy 2
schedules = keras.optimizers.schedules
EPOCHS, SIZES = 3, (4, 12, 24)
TRACED = SIZES[0]  # the few updates of larger batches take less time eagerly than to be traced
AT = 12  # the batch size at which schedules are right


class Trace(keras.callbacks.Callback):
    """Keeps the rate in force at every update."""

    rates = None  # shared by all copies

    def on_train_batch_end(self, batch, logs=None):
        self.rates.append(float(self.model.optimizer.learning_rate))


@pytest.fixture
def trace(monkeypatch):
    found = []
    monkeypatch.setattr(Trace, "rates", found)
    return found


def network(optimizer, batch_size):
    return perceptron(optimizer, run_eagerly=batch_size != TRACED)


def trained(build, batch_size, *, learning_rate=None, scaling=None, callbacks=(), loop="auto"):
    instructions = Instructions(loop=loop, evaluation_batch_size=EVALUATION, scaling=scaling or Scaling())
    trial = Trial(
        Setting(batch_size, learning_rate), SEED, budget=Budget(EPOCHS), trial_id="t", instructions=instructions
    )
    reports = []
    session = TrainingSession(build, table(), callbacks=callbacks)
    outcome = session.train(trial, lambda report: reports.append(report) or True)
    assert outcome.status is Status.COMPLETED, outcome.log_tail
    return [dict(report.metrics) for report in reports]


# Each schedule by hand: what a user would write for rates `r` times as high and `c` times as many updates.
SCHEDULES = {
    "cosine": lambda r, c: schedules.CosineDecay(0.1 * r, 10 * c, alpha=0.1),
    "cosine with warm-up": lambda r, c: schedules.CosineDecay(
        0.01 * r, 8 * c, warmup_target=0.1 * r, warmup_steps=3 * c
    ),
    "restarts": lambda r, c: schedules.CosineDecayRestarts(0.1 * r, 4 * c),
    "exponential": lambda r, c: schedules.ExponentialDecay(0.1 * r, 4 * c, 0.5),
    "inverse time": lambda r, c: schedules.InverseTimeDecay(0.1 * r, 4 * c, 0.5),
    "piecewise": lambda r, c: schedules.PiecewiseConstantDecay([3 * c, 9 * c], [0.1 * r, 0.05 * r, 0.01 * r]),
    "polynomial": lambda r, c: schedules.PolynomialDecay(0.1 * r, 9 * c, 0.01 * r),
}


@pytest.mark.parametrize("batch_size", SIZES)
@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_has_the_rates_of_one_that_was_rewritten_for_the_batch_size_by_hand(trace, name, batch_size):
    make, factor, counts = SCHEDULES[name], math.sqrt(batch_size / AT), AT / batch_size
    highest = 0.1 * factor
    by_hand = plain_fit(
        lambda: network(keras.optimizers.SGD(make(factor, counts)), batch_size),
        table(),
        batch_size=batch_size,
        epochs=EPOCHS,
        callbacks=[Trace()],
    )
    expected, trace[:] = list(trace), []
    scaling = Scaling(AT, reference_rate=0.1, schedule_at=AT)
    found = trained(
        lambda: network(keras.optimizers.SGD(make(1, 1)), batch_size),
        batch_size,
        learning_rate=highest,
        scaling=scaling,
        callbacks=[Trace()],
    )
    assert len(trace) == EPOCHS * N_TRAIN // batch_size
    assert trace == pytest.approx(expected, rel=1e-5)
    for logs, plain in zip(found, by_hand, strict=True):
        assert logs == pytest.approx(plain, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("name", SCHEDULES)
def test_blocks_follow_the_schedule_of_the_batch_size(name):
    make = SCHEDULES[name]
    build, scaling = lambda: perceptron(keras.optimizers.SGD(make(1, 1))), Scaling(AT, schedule_at=AT)
    expected, *found = (
        trained(build, 4, learning_rate=0.05, scaling=scaling, loop=loop) for loop in ("keras", "device", "xla")
    )
    for history in found:
        for logs, plain in zip(history, expected, strict=True):
            assert logs == pytest.approx(plain, rel=2e-5, abs=2e-6)


class WarmUp(keras.callbacks.Callback):
    """Raises the rate over the first updates, as many tutorials do."""

    def __init__(self, target=0.1, updates=10):
        super().__init__()
        self.target, self.updates, self.seen = target, updates, 0

    def on_train_batch_begin(self, batch, logs=None):
        self.seen += 1
        self.model.optimizer.learning_rate = self.target * min(1.0, self.seen / self.updates)


class OneCycle(keras.callbacks.Callback):
    """One cycle over the whole training, by the counts that `fit` tells."""

    def on_train_begin(self, logs=None):
        self.total, self.seen = self.params["epochs"] * self.params["steps"], 0

    def on_train_batch_begin(self, batch, logs=None):
        share = self.seen / self.total
        self.model.optimizer.learning_rate = 0.02 + 0.1 * (1 - abs(2 * share - 1))
        self.seen += 1


class Cyclic(keras.callbacks.Callback):
    """A triangle of ten updates, again and again, set after every update."""

    def on_train_begin(self, logs=None):
        self.seen = 0

    def on_train_batch_end(self, batch, logs=None):
        self.seen += 1
        self.model.optimizer.learning_rate = 0.01 + 0.02 * abs(self.seen % 10 - 5)


def absolute(epoch):
    return 0.1 / (epoch + 1)


def relative(epoch, rate):
    return rate if epoch == 0 else 0.5 * rate


CALLBACKS = {
    "warm-up": WarmUp,
    "one cycle": OneCycle,
    "cyclic": Cyclic,
    "scheduler": lambda: keras.callbacks.LearningRateScheduler(absolute),
    "relative scheduler": lambda: keras.callbacks.LearningRateScheduler(relative),
    "plateau": lambda: keras.callbacks.ReduceLROnPlateau("loss", patience=1, min_delta=10.0, min_lr=0.005),
}


def with_momentum(batch_size):
    return lambda: network(keras.optimizers.SGD(0.05, momentum=0.9), batch_size)


@pytest.mark.parametrize("batch_size", SIZES)
@pytest.mark.parametrize("name", CALLBACKS)
def test_a_callback_that_sets_rates_acts_as_under_fit(trace, name, batch_size):
    expected_logs = plain_fit(
        with_momentum(batch_size), table(), batch_size=batch_size, epochs=EPOCHS, callbacks=[CALLBACKS[name](), Trace()]
    )
    expected, trace[:] = list(trace), []
    found = trained(with_momentum(batch_size), batch_size, callbacks=[CALLBACKS[name](), Trace()])
    assert trace == pytest.approx(expected, rel=1e-6)
    assert len(set(trace)) > 1
    for logs, plain in zip(found, expected_logs, strict=True):
        assert logs == pytest.approx(plain, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("name", ["scheduler", "relative scheduler", "plateau"])
def test_rates_that_keras_sets_are_multiples_of_the_trials(trace, name):
    trained(with_momentum(12), 12, callbacks=[CALLBACKS[name](), Trace()])
    at_the_reference, trace[:] = list(trace), []
    scaling = Scaling(AT, reference_rate=0.05)
    trained(with_momentum(12), 12, learning_rate=0.2, scaling=scaling, callbacks=[CALLBACKS[name](), Trace()])
    assert trace == pytest.approx([4 * rate for rate in at_the_reference], rel=1e-5)
