"""The user's Keras callbacks, copied afresh for every trial."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import keras

_BATCH_HOOKS = ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end")


def copies_for_trial(callbacks: Sequence[keras.callbacks.Callback], trial_id: str) -> list[keras.callbacks.Callback]:
    """Deep copies, as KerasTuner makes them, so that no trial sees another's state.

    A `TensorBoard` callback writes below a directory of the trial's own.

    Raises:
        ValueError: If one cannot be copied, or would load another trial's weights.
    """
    copies = [_copied(callback) for callback in callbacks]
    for callback in copies:
        if isinstance(callback, keras.callbacks.BackupAndRestore):
            raise ValueError(
                "BackupAndRestore would load one trial's weights into the next; got one among the callbacks. "
                "Leave it out: a search resumes by itself."
            )
        if isinstance(callback, keras.callbacks.TensorBoard):
            callback.log_dir = str(Path(callback.log_dir) / trial_id)
    return copies


def hooks_batches(callbacks: Sequence[keras.callbacks.Callback]) -> bool:
    """Whether any of them runs between two training steps."""
    base = keras.callbacks.Callback
    return any(
        getattr(type(callback), hook) is not getattr(base, hook) for callback in callbacks for hook in _BATCH_HOOKS
    )


def _copied(callback: keras.callbacks.Callback) -> keras.callbacks.Callback:
    try:
        return copy.deepcopy(callback)
    except Exception as error:
        raise ValueError(
            f"Callbacks must be deep-copyable, since every trial gets its own; {type(callback).__name__} is not "
            f"({error}). Hold open files, locks and clients outside, and open them in on_train_begin."
        ) from error
