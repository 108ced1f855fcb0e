"""What watches a training: every update is told, and every epoch reported as numbers."""

import itertools
import math
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from training_helpers import dense_model, make_data, make_trial

from tuning.instructions import Goal
from tuning.loops.callbacks import EpochReporter, TrialCallbacks, scalars
from tuning.loops.session import TrainingSession
from tuning.objective import Objective
from tuning.trial import Status


def report_epochs(metrics, *, goal=None, epochs=3, keep_going=True, **instructions):
    """Tell a reporter of these epochs, until it stops the training."""
    trial = make_trial(20, epochs=epochs, goal=goal, **instructions)
    clock, reports = SimpleNamespace(seconds=1.5, updates=0), []
    reporter = EpochReporter(trial, clock, lambda report: reports.append(report) or keep_going)
    reporter.set_model(SimpleNamespace(stop_training=False))
    for epoch, logs in enumerate(metrics):
        clock.updates = (epoch + 1) * 50 // (trial.instructions.micro_batch_size or 20)
        reporter.on_epoch_end(epoch, logs)
        if reporter.model.stop_training:
            break
    return reporter, reports


def test_reports_count_the_updates_of_whole_batches():
    _, reports = report_epochs([{"loss": 1.0}] * 3)
    assert [(report.updates, report.examples_seen) for report in reports] == [(2, 40), (5, 100), (7, 140)]
    assert (reports[0].trial_id, reports[0].epoch, reports[0].seconds) == ("t", 1, 1.5)


def test_reports_of_micro_batches_count_the_same_updates():
    _, reports = report_epochs([{"loss": 1.0}] * 3, micro_batch_size=5)
    assert [(report.updates, report.examples_seen) for report in reports] == [(2, 40), (5, 100), (7, 140)]


def test_a_stop_after_the_last_epoch_prunes_nothing():
    reporter, reports = report_epochs([{"loss": 1.0}] * 3, epochs=1, keep_going=False)
    assert (reporter.status, reporter.reason, len(reports)) == (Status.COMPLETED, "", 3)
    reporter, reports = report_epochs([{"loss": 1.0}] * 3, keep_going=False)
    assert (reporter.status, len(reports)) == (Status.PRUNED, 1)
    assert reporter.reason == "Stopped by the search after epoch 1 of 3."


@pytest.mark.parametrize("name", ["loss", "val_loss"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_diverges_and_is_not_reported(name, value):
    reporter, reports = report_epochs([{"loss": 1.0}, {"loss": 1.0, name: value}, {"loss": 1.0}])
    assert (reporter.status, len(reports)) == (Status.DIVERGED, 1)
    assert reporter.reason == f"{name} became {value} in epoch 2."


def test_another_metric_that_is_not_finite_is_reported():
    reporter, reports = report_epochs([{"loss": 1.0, "auc": math.nan}])
    assert (reporter.status, len(reports)) == (Status.COMPLETED, 1)


def test_a_goal_once_reached_ends_the_trial_after_its_least_epochs():
    goal = Goal(Objective("val_accuracy"), 0.9, least_epochs=2)
    logs = [{"loss": 1.0, "val_accuracy": value} for value in (0.9, 0.1, 0.1)]
    reporter, reports = report_epochs(logs, goal=goal)
    assert (reporter.status, reporter.epochs, len(reports)) == (Status.COMPLETED, 2, 2)


class Batches(keras.callbacks.Callback):
    """Takes down what it is told of every update."""

    told = None  # shared by all copies

    def __init__(self, stop_at=None):
        super().__init__()
        self.stop_at = stop_at

    def on_train_batch_begin(self, batch, logs=None):
        self.told.append(("begin", batch))

    def on_train_batch_end(self, batch, logs=None):
        self.told.append(("end", batch, logs["loss"]))
        self.model.stop_training = len(self.told) // 2 == self.stop_at


@pytest.fixture
def told(monkeypatch):
    found = []
    monkeypatch.setattr(Batches, "told", found)
    return found


@pytest.mark.parametrize("batch_size", [8, 20, 50])
def test_every_update_is_told_with_its_own_number(told, batch_size):
    data = make_data()
    session = TrainingSession(dense_model, data, callbacks=[Batches()])
    outcome = session.train(make_trial(batch_size, loop="auto"), lambda _: True)
    assert outcome.loop == "keras", outcome.reason
    ends = [epoch * data.n_train // batch_size for epoch in range(4)]
    expected = [number for begin, end in itertools.pairwise(ends) for number in range(end - begin)]
    assert [entry[1] for entry in told if entry[0] == "begin"] == expected
    assert [entry[1] for entry in told if entry[0] == "end"] == expected


@pytest.mark.parametrize("updates", [1, 6, 7, 13])  # of 6, 6 and 6 and at last 7 in an epoch of 50 examples
def test_a_callback_may_stop_after_any_update(told, updates):
    session = TrainingSession(dense_model, make_data(), callbacks=[Batches(stop_at=updates)])
    reports = []
    outcome = session.train(make_trial(8), lambda report: reports.append(report) or True)
    assert outcome.status is Status.COMPLETED, outcome.reason
    assert len(told) == 2 * updates
    assert reports[-1].updates == updates
    assert reports[-1].examples_seen == 8 * updates


def test_a_named_loop_that_cannot_tell_every_update_is_refused_with_the_reason(told):
    session = TrainingSession(dense_model, make_data(), callbacks=[Batches()])
    outcome = session.train(make_trial(8, loop="device"), lambda _: True)
    assert outcome.status is Status.FAILED
    assert outcome.reason.removeprefix("ValueError: ") == (
        "The device loop cannot train this: Batches acts on every batch, and a block has many. Use the keras loop, or "
        "auto."
    )


def test_callbacks_find_the_trial_among_their_params():
    found = []

    class Params(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            found.append(self.params)

    TrainingSession(dense_model, make_data(), callbacks=[Params()]).train(make_trial(20, seed=3), lambda _: True)
    (params,) = found
    assert params.pop("steps") >= 1
    assert params == {"verbose": 0, "epochs": 3, "trial_id": "t", "batch_size": 20, "seed": 3}


def test_a_further_update_of_a_step_is_not_begun_once_a_callback_has_stopped_the_training(told):
    watching = TrialCallbacks([Batches(stop_at=1)])
    model = dense_model()
    watching.attach(model, make_trial(), keras.callbacks.Callback(), steps=6)
    watching.on_epoch_begin(0)
    watching.on_train_batch_begin(5)
    assert not watching.next_batch(5, {"loss": 1.0})
    assert told == [("begin", 5), ("end", 5, 1.0)]


def test_an_array_is_logged_as_its_mean_and_by_component():
    logs = {"loss": np.float32(0.5), "f1": np.array([0.2, 0.4]), "many": np.ones(1000), "words": "none", "empty": []}
    assert scalars(logs) == {
        "loss": 0.5,
        "f1": pytest.approx(0.3),
        "f1_0": pytest.approx(0.2),
        "f1_1": pytest.approx(0.4),
        "many": 1.0,
    }
