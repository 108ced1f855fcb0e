"""The user's callbacks: a fresh copy for every trial, with files and rates of its own."""

import threading

import keras
import pytest
from training_helpers import dense_model, make_data, make_trial

from tuning.loops.session import TrainingSession
from tuning.loops.user_callbacks import RelativeSchedule, acting_on_batches, copies_for_trial, restored_epoch


class PerBatch(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        pass


def test_copies_share_no_state():
    original = keras.callbacks.EarlyStopping()
    (copy,) = copies_for_trial([original], "t")
    assert copy is not original
    assert type(copy) is keras.callbacks.EarlyStopping


def test_a_callback_that_cannot_be_copied_is_refused_by_name():
    callback = PerBatch()
    callback.lock = threading.Lock()
    with pytest.raises(ValueError, match=r"PerBatch is not .*cannot pickle"):
        copies_for_trial([callback], "t")


def test_files_go_to_a_directory_per_trial(tmp_path):
    given = [
        keras.callbacks.TensorBoard(str(tmp_path / "board"), profile_batch=0),
        keras.callbacks.ModelCheckpoint(tmp_path / "best.{epoch:02d}.keras"),
        keras.callbacks.CSVLogger(tmp_path / "log.csv", separator=";"),
        keras.callbacks.BackupAndRestore(tmp_path / "backup", delete_checkpoint=False),
    ]
    board, checkpoint, log, backup = copies_for_trial(given, "t7")
    assert board.log_dir == str(tmp_path / "board" / "t7")
    assert checkpoint.filepath == str(tmp_path / "t7" / "best.{epoch:02d}.keras")
    assert (log.filename, log.sep) == (str(tmp_path / "t7" / "log.csv"), ";")
    assert (backup.backup_dir, backup.delete_checkpoint) == (str(tmp_path / "backup" / "t7"), False)


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # Keras, with numpy 2
def test_what_they_write_is_there_afterwards(tmp_path):
    callbacks = [
        keras.callbacks.ModelCheckpoint(tmp_path / "last.keras"),
        keras.callbacks.CSVLogger(tmp_path / "log.csv"),
        keras.callbacks.BackupAndRestore(tmp_path / "backup", delete_checkpoint=False),
    ]
    session = TrainingSession(dense_model, make_data(), callbacks=callbacks)
    for trial_id in ("a", "b", "a"):
        outcome = session.train(make_trial(trial_id=trial_id), lambda _: True)
        assert outcome.settings["epochs_trained"] == 3, outcome.reason
    for trial_id in ("a", "b"):
        assert len((tmp_path / trial_id / "log.csv").read_text().splitlines()) == 1 + 3
        assert (
            keras.models.load_model(tmp_path / trial_id / "last.keras").count_params() == dense_model().count_params()
        )
        assert (tmp_path / "backup" / trial_id).is_dir()


@pytest.mark.parametrize(
    "callback",
    [
        PerBatch(),
        keras.callbacks.LambdaCallback(on_train_batch_begin=print),
        keras.callbacks.ModelCheckpoint("a.keras", save_freq=10),
        keras.callbacks.TensorBoard("logs", update_freq=10, profile_batch=0),
        keras.callbacks.TensorBoard("logs", write_steps_per_second=True, profile_batch=0),
        type("Validation", (keras.callbacks.Callback,), {"on_test_batch_end": lambda *_: None})(),
        type("Old", (keras.callbacks.Callback,), {"on_batch_end": lambda *_: None})(),
        type("Mine", (keras.callbacks.ModelCheckpoint,), {"on_train_batch_end": lambda *_: None})("a.keras"),
    ],
    ids=lambda callback: type(callback).__name__,
)
def test_callbacks_that_act_on_batches_are_known(callback):
    assert acting_on_batches([keras.callbacks.EarlyStopping(), callback]) == (type(callback).__name__,)


def test_callbacks_of_keras_whose_hooks_do_nothing_are_known():
    idle = [
        keras.callbacks.EarlyStopping(),
        keras.callbacks.ModelCheckpoint("a.keras"),
        keras.callbacks.BackupAndRestore("backup"),
        keras.callbacks.TerminateOnNaN(),
        keras.callbacks.CSVLogger("a.csv"),
        keras.callbacks.TensorBoard("logs", profile_batch=0),
        keras.callbacks.LambdaCallback(on_epoch_end=print),
    ]
    assert acting_on_batches(idle) == ()


def test_a_rate_that_a_scheduler_sets_is_relative_to_the_trials():
    absolute, relative = (lambda epoch: 0.1 / (epoch + 1)), (lambda _, rate: rate * 0.5)
    given = [keras.callbacks.LearningRateScheduler(schedule) for schedule in (absolute, relative)]
    first, second = copies_for_trial(given, "t", rate_factor=4.0)
    assert [first.schedule(epoch, 9.9) for epoch in range(2)] == [pytest.approx(0.4), pytest.approx(0.2)]
    assert second.schedule(0, 0.8) == pytest.approx(0.4)


def test_a_schedule_stays_the_users_own_at_the_models_own_rate():
    given = keras.callbacks.LearningRateScheduler(lambda _: 0.1)
    (copy,) = copies_for_trial([given], "t")
    assert not isinstance(copy.schedule, RelativeSchedule)


def test_the_least_rate_of_a_plateau_follows():
    (copy,) = copies_for_trial([keras.callbacks.ReduceLROnPlateau(min_lr=1e-4)], "t", rate_factor=0.5)
    assert copy.min_lr == pytest.approx(5e-5)


class Scripted(keras.callbacks.Callback):
    """Puts scores into the logs, so that the second epoch is the best."""

    def on_epoch_end(self, epoch, logs=None):
        logs["val_score"] = [0.1, 0.9, 0.5, 0.4, 0.3][epoch]


def test_the_epoch_whose_weights_were_restored_is_told():
    stopping = keras.callbacks.EarlyStopping("val_score", mode="max", patience=2, restore_best_weights=True)
    session = TrainingSession(dense_model, make_data(), callbacks=[Scripted(), stopping])
    outcome = session.train(make_trial(epochs=5), lambda _: True)
    assert (outcome.weights_epoch, outcome.settings["weights_epoch"]) == (2, 2)
    assert outcome.settings["epochs_trained"] == 4


def test_without_restoring_the_last_weights_count():
    stopping = keras.callbacks.EarlyStopping("val_score", mode="max", patience=2)
    session = TrainingSession(dense_model, make_data(), callbacks=[Scripted(), stopping])
    outcome = session.train(make_trial(epochs=5), lambda _: True)
    assert outcome.weights_epoch is None
    assert "weights_epoch" not in outcome.settings
    assert restored_epoch([keras.callbacks.EarlyStopping(restore_best_weights=True)]) is None
