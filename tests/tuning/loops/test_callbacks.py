"""The user's callbacks: a fresh copy for every trial."""

import threading

import keras
import pytest

from tuning.loops.callbacks import copies_for_trial, hooks_batches


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
