"""The user's callbacks: a fresh copy for every trial."""

import math
import threading
from types import SimpleNamespace

import keras
import pytest
from training_helpers import make_trial

from tuning.loops.arrays import ExampleOrder
from tuning.loops.callbacks import EpochReporter, copies_for_trial, hooks_batches
from tuning.objective import Objective
from tuning.trial import Goal, Status


class PerBatch(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        pass


def test_copies_share_no_state():
    original = keras.callbacks.EarlyStopping()
    (copy,) = copies_for_trial([original], "t")
    assert copy is not original
    assert type(copy) is keras.callbacks.EarlyStopping


def test_tensorboard_writes_below_a_directory_per_trial(tmp_path):
    (copy,) = copies_for_trial([keras.callbacks.TensorBoard(str(tmp_path))], "t7")
    assert copy.log_dir == str(tmp_path / "t7")


def test_backup_and_restore_is_refused(tmp_path):
    with pytest.raises(ValueError, match="would load one trial's weights into the next"):
        copies_for_trial([keras.callbacks.BackupAndRestore(tmp_path)], "t")


def test_a_callback_that_cannot_be_copied_is_refused_by_name():
    callback = PerBatch()
    callback.lock = threading.Lock()
    with pytest.raises(ValueError, match=r"PerBatch is not .*cannot pickle"):
        copies_for_trial([callback], "t")


def test_hooks_between_steps_are_known():
    assert hooks_batches([keras.callbacks.EarlyStopping(), PerBatch()])
    assert not hooks_batches([keras.callbacks.EarlyStopping()])


def report_epochs(metrics, *, goal=None, epochs=3, keep_going=True, **instructions):
    """Tell a reporter of these epochs, until it stops the training."""
    trial = make_trial(20, epochs=epochs, goal=goal, **instructions)
    order = ExampleOrder(50, trial.instructions.micro_batch_size or 20, 0)
    reports = []
    reporter = EpochReporter(
        trial, order, SimpleNamespace(seconds=1.5), lambda report: reports.append(report) or keep_going
    )
    reporter.set_model(SimpleNamespace(stop_training=False))
    for epoch, logs in enumerate(metrics):
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
