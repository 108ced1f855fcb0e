"""The keras loop: the batches of a pipeline, and exactly the updates of each epoch."""

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from training_helpers import Recorder, assert_same_history, dense_model, make_data, make_trial

from tuning.loops import fit_plan
from tuning.loops.arrays import DataPlacement
from tuning.loops.callbacks import TrainingClock
from tuning.loops.fit_plan import EpochPipeline
from tuning.loops.keras_loop import ExactSteps, best_steps_per_execution, is_distributed, may_take_several
from tuning.loops.order import ExampleOrder
from tuning.loops.session import TrainingSession
from tuning.trial import Status


@pytest.mark.parametrize("place", [tf.constant, np.asarray], ids=["tensors", "arrays read batch by batch"])
def test_a_pipeline_yields_the_batches_of_the_epoch_begun_last(place):
    order = ExampleOrder(10, 4, seed=5)
    x = np.arange(20.0, dtype="float32").reshape(10, 2)
    pipeline = EpochPipeline(((place(x), place(np.arange(10)))), order)
    for epoch in (0, 1, 3, 1):
        pipeline.begin(epoch)
        batches = list(pipeline.dataset.as_numpy_iterator())
        np.testing.assert_array_equal([y for _, y in batches], order.rows(epoch))
        np.testing.assert_array_equal([first for first, _ in batches], x[order.rows(epoch)])


@pytest.mark.parametrize(("per_step", "fit_steps"), [(1, 2), (2, 2), (3, 3)])
def test_the_last_step_of_an_epoch_trains_whatever_is_left_of_it(per_step, fit_steps):
    order = ExampleOrder(10, 4, seed=0)  # 2, 3, 2, 3 updates
    begun, executed = [], []
    pipeline = SimpleNamespace(order=order, begin=begun.append, serves_all_epochs=False)
    clock = TrainingClock(counts_gaps=False)
    clock.run = lambda execution, updates: executed.append(updates) or execution()
    steps = ExactSteps(lambda iterator: {"loss": 0.0}, per_step, pipeline, [], clock)
    assert steps.fit_steps == fit_steps
    done = []
    for _ in range(4):
        for _ in range(fit_steps // per_step):
            steps()
        done.append(sum(executed))
    assert done == [2, 5, 7, 10]
    assert begun == [0, 1, 2, 3]
    assert max(executed) <= per_step


def test_data_too_large_for_the_host_train_and_validate_alike_without_being_placed(monkeypatch):
    histories = []
    for share in (0.5, 1e-12):
        with monkeypatch.context() as patch:
            patch.setattr(DataPlacement.__init__, "__defaults__", (share, None))
            recorder = Recorder()
            session = TrainingSession(dense_model, make_data())
            outcome = session.train(make_trial(7, loop="keras", evaluation_batch_size=9), recorder)
            assert outcome.status is Status.COMPLETED, outcome.log_tail
            assert session._planner._data.fits_on_host is (share == 0.5)
            histories.append(recorder.history)
    assert_same_history(histories[1], histories[0])


def test_the_batches_of_a_validation_end_with_the_remainder():
    dataset = fit_plan.evaluation_dataset((np.arange(7.0), np.arange(7)), 7, 3)
    assert [y.tolist() for _, y in dataset.as_numpy_iterator()] == [[0, 1, 2], [3, 4, 5], [6]]


def test_a_model_under_a_strategy_is_known_and_trains():
    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    with strategy.scope():
        model = dense_model()
    assert is_distributed(model)
    assert not may_take_several(model)
    assert not is_distributed(dense_model())


def test_steps_per_call_are_left_alone_where_the_model_has_its_own():
    assert may_take_several(dense_model())
    assert not may_take_several(dense_model(steps_per_execution=2))
    assert not may_take_several(dense_model(run_eagerly=True))


class Stopwatch:
    """Seconds that pass only as told, one per reading."""

    def __init__(self, seconds):
        self._seconds = iter(seconds)
        self._now = 0.0

    def __call__(self):
        self._now += next(self._seconds)
        return self._now


@pytest.mark.parametrize(
    ("updates", "several", "expected"),
    [(200, 8.0, 32), (200, 64.0, 1), (19, None, 1)],
    ids=["faster", "slower", "not worth a second compile"],
)
def test_several_steps_per_call_are_taken_where_they_were_timed_to_be_faster(updates, several, expected):
    data = make_data()
    pipeline = EpochPipeline((data.x_train[:50], data.y_train[:50]), ExampleOrder(50, 1, seed=0))
    big = EpochPipeline((np.tile(data.x_train, (2, 1)), np.tile(data.y_train, 2)), ExampleOrder(100, 1, seed=0))
    assert pipeline.order.least_updates < 64 <= big.order.least_updates
    calls = max(1, int(updates * 0.02))
    watch = Stopwatch([0.0, 1.0, 0.0, 1.0 * calls, 0.0, 1.0, 0.0, several or 0.0])
    steps, seconds = best_steps_per_execution(dense_model, big, updates, now=watch)
    assert steps == expected
    assert seconds == ({1: 1.0} if several is None else {1: 1.0, 32: several / 32})


def test_several_steps_per_call_are_not_tried_in_short_epochs():
    data = make_data()
    pipeline = EpochPipeline(data.train, ExampleOrder(50, 1, seed=0))
    watch = Stopwatch([0.0, 1.0, 0.0, 4.0])
    assert best_steps_per_execution(dense_model, pipeline, 200, now=watch) == (1, {1: 1.0})


def test_the_keras_loop_keeps_the_users_compile_settings():
    for steps in (1, 4):
        session = TrainingSession(lambda steps=steps: dense_model(steps_per_execution=steps), make_data())
        outcome = session.train(make_trial(5, loop="keras"), Recorder())
        assert (outcome.settings["steps_per_execution"], outcome.settings["jit_compile"]) == (steps, False)
