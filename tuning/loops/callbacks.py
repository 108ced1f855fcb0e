"""The user's Keras callbacks, copied afresh for every trial; and our own, a clock and the epochs' reporter."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np

from tuning.loops.arrays import ExampleOrder
from tuning.trial import EpochReport, Status, Trial


class Clock(Protocol):
    """What a loop tells about its executions."""

    def expect_no_compiling(self) -> None:
        """Told before the first execution if the program is compiled already."""

    def run(self, execution: Callable[[], Any], updates: int) -> Any:
        """Run one execution of the train function, which does `updates` optimizer updates, and return its logs."""

    def end_epoch(self, logs: Any) -> None:
        """Told at the end of an epoch's training, with the last logs."""


class TrainingClock:
    """Adds up the seconds of the executions of a train function.

    The first execution may compile. What it took beyond the steady rate is then told as `compile_seconds`, and
    `seconds` leaves it out. The steady rate excludes the first two executions, or the first if there are only two.

    Args:
        counts_gaps: Whether the time between two executions of an epoch belongs to the training, as Keras's own
            bookkeeping does; False where callbacks of the user run there.
        now: The clock, in seconds.
    """

    def __init__(self, *, counts_gaps: bool, now: Callable[[], float] = time.perf_counter) -> None:
        self._counts_gaps = counts_gaps
        self._compiled = False
        self._now = now
        self._first = self._second = self._steady = (0, 0.0)
        self._executions = 0
        self._last_end: float | None = None

    def expect_no_compiling(self) -> None:
        """Let the first execution count like any other."""
        self._compiled = True

    def run(self, execution: Callable[[], Any], updates: int) -> Any:
        """Run one execution of the train function, which does `updates` optimizer updates, and return its logs."""
        begin = self._now()
        if self._counts_gaps and self._last_end is not None:
            begin = self._last_end
        logs = execution()
        self._last_end = self._now()
        self._executions += 1
        self._add(updates, self._last_end - begin)
        return logs

    def end_epoch(self, logs: Any) -> None:
        """Wait until the device has finished what made these logs; the waiting belongs to the training."""
        wait_for(logs)
        if self._last_end is not None:
            self._add(0, self._now() - self._last_end)
        self._last_end = None

    @property
    def compile_seconds(self) -> float | None:
        """What the first execution took beyond the steady rate; None if there was no second one to tell."""
        if self._compiled:
            return 0.0
        updates, seconds = self._first
        steady = self.seconds_per_update
        return None if steady is None else max(0.0, seconds - updates * steady)

    @property
    def seconds(self) -> float:
        """Training seconds so far, without compiling; 0 while only a compiling execution was seen."""
        compiling = self.compile_seconds
        total = self._first[1] + self._second[1] + self._steady[1]
        return 0.0 if compiling is None else total - compiling

    @property
    def seconds_per_update(self) -> float | None:
        """The steady seconds of one optimizer update; None if there were too few executions."""
        parts = [self._steady, self._second, self._first if self._compiled else (0, 0.0)]
        return next((seconds / updates for updates, seconds in parts if updates), None)

    def _add(self, updates: int, seconds: float) -> None:
        part = {1: "_first", 2: "_second"}.get(self._executions, "_steady")
        known_updates, known_seconds = getattr(self, part)
        setattr(self, part, (known_updates + updates, known_seconds + seconds))


def wait_for(logs: Any) -> None:
    """Return when the device has computed these logs."""
    for value in keras.tree.flatten(logs):
        np.asarray(value)


_BATCH_HOOKS = ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end")


def copies_for_trial(callbacks: Sequence[keras.callbacks.Callback], trial_id: str) -> list[keras.callbacks.Callback]:
    """Return deep copies, as KerasTuner makes them, so that no trial sees another's state.

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
    """Return whether any of them runs between two training steps."""
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


_LOSSES = ("loss", "val_loss")


class EpochReporter(keras.callbacks.Callback):
    """Reports epochs; stops the training by `model.stop_training`, so that other callbacks still clean up.

    An epoch whose training or validation loss is NaN or infinite ends the trial as diverged and is not reported. A
    trial that has reached its goal ends as completed.

    Args:
        trial: What is trained.
        order: Tells the gradients of each epoch.
        clock: Tells the training seconds.
        report: Told every epoch; returns False to stop the trial.
    """

    def __init__(
        self,
        trial: Trial,
        order: ExampleOrder,
        clock: TrainingClock,
        report: Callable[[EpochReport], bool],
    ) -> None:
        super().__init__()
        self._trial = trial
        self._order = order
        self._clock = clock
        self._report = report
        self.status = Status.COMPLETED
        self.reason = ""
        self.epochs = 0
        self._reached = False

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        self.epochs = epoch + 1
        metrics = {name: float(value) for name, value in (logs or {}).items()}
        lost = [name for name in _LOSSES if not math.isfinite(metrics.get(name, 0.0))]
        if lost:
            self._stop(Status.DIVERGED, f"{lost[0]} became {metrics[lost[0]]} in epoch {self.epochs}.")
            return
        keep_going = self._report(self._epoch_report(metrics))
        if self._has_reached_its_goal(metrics):
            self._stop(Status.COMPLETED, "")
        elif not keep_going and self.epochs < self._trial.budget.epochs:
            self._stop(
                Status.PRUNED, f"Stopped by the search after epoch {self.epochs} of {self._trial.budget.epochs}."
            )

    def _epoch_report(self, metrics: Mapping[str, float]) -> EpochReport:
        updates = self._order.updates_after(self.epochs) // self._trial.accumulation_steps
        return EpochReport(
            trial_id=self._trial.trial_id,
            epoch=self.epochs,
            examples_seen=updates * self._trial.batch_size,
            updates=updates,
            metrics=metrics,
            seconds=self._clock.seconds,
        )

    def _has_reached_its_goal(self, metrics: Mapping[str, float]) -> bool:
        goal = self._trial.budget.goal
        if goal is None:
            return False
        self._reached = self._reached or goal.is_reached(metrics)
        return self._reached and self.epochs >= goal.least_epochs

    def _stop(self, status: Status, reason: str) -> None:
        self.status, self.reason = status, reason
        self.model.stop_training = True
