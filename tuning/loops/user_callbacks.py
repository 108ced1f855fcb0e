"""The user's Keras callbacks, copied afresh for every trial: files of its own, rates relative to its own."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras

from tuning.loops.keras_private import traces_batches

_BATCH_HOOKS = tuple(f"on_{kind}batch_{moment}" for kind in ("", "train_", "test_") for moment in ("begin", "end"))

# Callbacks of Keras whose own batch hooks do nothing in these cases. `TerminateOnNaN` looks at the running mean of an
# epoch's loss, which stays NaN, so it sees at the end of a block of updates what it would have seen within.
_IDLE_ON_BATCHES: tuple[tuple[type, Callable[[Any], bool]], ...] = (
    (keras.callbacks.ModelCheckpoint, lambda callback: callback.save_freq == "epoch"),
    (keras.callbacks.BackupAndRestore, lambda callback: callback.save_freq == "epoch"),
    (keras.callbacks.TerminateOnNaN, lambda _: True),
    (
        keras.callbacks.TensorBoard,
        lambda callback: (
            callback.update_freq == "epoch" and not callback.write_steps_per_second and not traces_batches(callback)
        ),
    ),
)

_OWN_FILES = ((keras.callbacks.ModelCheckpoint, "filepath"), (keras.callbacks.CSVLogger, "filename"))


def acting_on_batches(callbacks: Sequence[keras.callbacks.Callback]) -> tuple[str, ...]:
    """Return the names of the callbacks that do something between two updates, or two batches of validation."""
    return tuple(type(callback).__name__ for callback in callbacks if _acts_on_batches(callback))


def copies_for_trial(
    callbacks: Sequence[keras.callbacks.Callback], trial_id: str, rate_factor: float = 1.0
) -> list[keras.callbacks.Callback]:
    """Return deep copies, as KerasTuner makes them, so that no trial sees another's state.

    What Keras's own callbacks write goes to a directory of the trial's own, below the one that they name. The rates
    that `LearningRateScheduler` sets are taken to be right where the model's own rate is, and are multiplied by
    `rate_factor`; so is the `min_lr` of `ReduceLROnPlateau`.

    Args:
        callbacks: The user's.
        trial_id: Names the directory.
        rate_factor: The trial's learning rate, relative to the model's own.

    Raises:
        ValueError: If one cannot be copied.
    """
    return [_for_trial(_copied(callback), trial_id, rate_factor) for callback in callbacks]


def restored_epoch(callbacks: Sequence[keras.callbacks.Callback]) -> int | None:
    """Return the epoch, from 1, whose weights a training ended with because `EarlyStopping` restored them.

    Args:
        callbacks: The copies that the training was given, the last to restore being the last in the list.

    Returns:
        None where the weights are those after the last epoch.
    """
    restored = [
        int(callback.best_epoch) + 1
        for callback in callbacks
        if isinstance(callback, keras.callbacks.EarlyStopping)
        and callback.restore_best_weights
        # Keras restores only what it has taken: before `start_from_epoch` there is nothing
        and callback.best_weights is not None
    ]
    return restored[-1] if restored else None


class RelativeSchedule:
    """A schedule of `LearningRateScheduler` in units of the model's own rate.

    Args:
        schedule: The user's: `(epoch, rate)` or `(epoch)` to a rate.
        factor: The trial's learning rate, relative to the model's own.
    """

    def __init__(self, schedule: Callable[..., float], factor: float) -> None:
        self._schedule = schedule
        self._factor = factor

    def __call__(self, epoch: int, learning_rate: float) -> float:
        """Return the trial's rate of an epoch, counted from 0.

        Args:
            epoch: The epoch that begins.
            learning_rate: The rate of the trial so far.
        """
        try:
            rate = self._schedule(epoch, learning_rate / self._factor)
        except TypeError:  # Keras, too, tries both signatures
            rate = self._schedule(epoch)
        return float(rate) * self._factor


def _acts_on_batches(callback: keras.callbacks.Callback) -> bool:
    overridden = {
        hook for hook in _BATCH_HOOKS if _function(callback, hook) is not _function(keras.callbacks.Callback, hook)
    }
    for kind, is_idle in _IDLE_ON_BATCHES:
        if isinstance(callback, kind) and is_idle(callback):
            overridden = {hook for hook in overridden if _function(callback, hook) is not _function(kind, hook)}
    return bool(overridden)


def _function(holder: Any, name: str) -> Any:
    """Return what a method name stands for: the function itself, so that those of an object and its class compare."""
    found = getattr(holder, name)
    return getattr(found, "__func__", found)


def _copied(callback: keras.callbacks.Callback) -> keras.callbacks.Callback:
    try:
        return copy.deepcopy(callback)
    except Exception as error:
        raise ValueError(
            f"Callbacks must be deep-copyable, since every trial gets its own; {type(callback).__name__} is not "
            f"({error}). Hold open files, locks and clients outside, and open them in on_train_begin."
        ) from error


def _for_trial(callback: Any, trial_id: str, rate_factor: float) -> keras.callbacks.Callback:
    for kind, name in _OWN_FILES:
        if isinstance(callback, kind):
            setattr(callback, name, str(_below(getattr(callback, name), trial_id)))
    if isinstance(callback, keras.callbacks.TensorBoard):
        callback.log_dir = str(Path(callback.log_dir) / trial_id)
    if isinstance(callback, keras.callbacks.LearningRateScheduler) and rate_factor != 1.0:
        callback.schedule = RelativeSchedule(callback.schedule, rate_factor)
    if isinstance(callback, keras.callbacks.ReduceLROnPlateau):
        callback.min_lr *= rate_factor
    return _backing_up(callback, trial_id) if isinstance(callback, keras.callbacks.BackupAndRestore) else callback


def _below(path: str, trial_id: str) -> Path:
    """Return the path with a directory of the trial's own before its last part; the directory is made."""
    directory = Path(path).parent / trial_id
    directory.mkdir(parents=True, exist_ok=True)
    return directory / Path(path).name


def _backing_up(callback: Any, trial_id: str) -> keras.callbacks.Callback:
    """Return the same callback on an empty directory: no trial goes on where another one was cut off."""
    directory = Path(callback.backup_dir) / trial_id
    shutil.rmtree(directory, ignore_errors=True)
    return type(callback)(str(directory), callback.save_freq, callback.double_checkpoint, callback.delete_checkpoint)
