"""What watches a training: a clock, the list of its callbacks, and the reporter of its epochs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import keras
import numpy as np

from tuning.loops.energy_windows import EnergyWindows
from tuning.trial import EpochReport, Status, Trial


class Clock(Protocol):
    """What a loop tells about its executions."""

    def expect_no_compiling(self) -> None:
        """Told before the first execution if the program is compiled already."""

    def run(self, execution: Callable[[], Any], updates: int) -> Any:
        """Run one execution of the train function, which does `updates` optimizer updates, and return its logs."""

    def next_batch(self, batch: int, logs: Any) -> bool:
        """Told between two executions in one step of `fit`, as `TrialCallbacks` is; return whether to go on."""

    def end_epoch(self, logs: Any) -> None:
        """Told at the end of an epoch's training, with the last logs."""


class Progress(Protocol):
    """How far a training is."""

    @property
    def updates(self) -> int:
        """The updates so far, of whole batches or of micro-batches."""

    @property
    def seconds(self) -> float:
        """Training seconds so far."""


_APART = 2
"""Executions that are told apart from those that follow."""


class TrainingClock:
    """Adds up the seconds of the executions of a train function.

    The first execution may compile. What it took beyond the steady rate is then told as `compile_seconds`, and
    `seconds` leaves it out. The steady rate excludes the first two executions, or the first if there are only two.

    A GPU may not have done what a call has returned from: the clock waits for it wherever it is read, so that what one
    part has begun is told of that part. In the course of an epoch that is only where gaps are left out, since there a
    callback may wait for the device in its own time.

    Args:
        counts_gaps: Whether the time between two executions of an epoch belongs to the training, as Keras's own
            bookkeeping does; False where callbacks of the user run there.
        wait: Returns when the device has done all that it was given; None for no device that is ever behind.
        watching: The callbacks, which are told of every batch that `fit` does not tell of; None where nobody watches.
        energy: Is read at the clock's own boundaries; None where nobody asks for energy.
        now: The clock, in seconds.
    """

    def __init__(
        self,
        *,
        counts_gaps: bool,
        watching: TrialCallbacks | None = None,
        wait: Callable[[], None] = lambda: None,
        energy: EnergyWindows | None = None,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._counts_gaps = counts_gaps
        self._wait = wait
        self._watching = watching
        self._energy = energy
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
        if self._energy is not None and (self._compiled or self._executions):
            self._energy.open()
        if self._counts_gaps and self._last_end is not None:
            begin = self._last_end
        else:
            self._wait()
            begin = self._now()
        logs = execution()
        self._executions += 1
        if not self._counts_gaps or self._executions <= _APART:
            self._wait()
        self._last_end = self._now()
        self._add(updates, self._last_end - begin)
        if self._energy is not None:
            self._energy.look(self._last_end)
        return logs

    def next_batch(self, batch: int, logs: Any) -> bool:
        """Tell the callbacks of a batch that `fit` does not tell of; return False if one of them ends the training."""
        return self._watching is None or self._watching.next_batch(batch, logs)

    def end_epoch(self, logs: Any) -> None:
        """Wait until the device has finished what made these logs; the waiting belongs to the training."""
        wait_for(logs)
        self._wait()
        if self._last_end is not None:
            self._add(0, self._now() - self._last_end)
        if self._energy is not None:
            self._energy.close()
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
    def updates(self) -> int:
        """The updates so far, of whole batches or of micro-batches."""
        return self._first[0] + self._second[0] + self._steady[0]

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


class TrialCallbacks(keras.callbacks.CallbackList):
    """The callbacks of one training, each told of every update, also where one step of `fit` does two.

    Keras wants the same number of steps in every epoch, while the updates of an epoch vary by one. `fit` takes a list
    of this kind as it is, and tells it one batch per step; whoever does a further update in a step calls `next_batch`.

    Args:
        callbacks: Those of the user, copied.
    """

    def __init__(self, callbacks: Sequence[keras.callbacks.Callback]) -> None:
        super().__init__(list(callbacks), add_history=True)
        self._ahead = 0

    def attach(
        self,
        model: keras.Model,
        trial: Trial,
        reporter: keras.callbacks.Callback,
        *,
        steps: int,
        verbose: int = 0,
    ) -> None:
        """Give every callback its model and its `params`: those of `fit`, and `trial_id`, `batch_size` and `seed`.

        Args:
            model: What is trained.
            trial: Its trial.
            reporter: Comes last, so that it sees what the others have put into the logs.
            steps: The steps of an epoch as `fit` counts them.
            verbose: What a progress bar among them shows, as `fit` takes it.
        """
        self.callbacks.append(reporter)
        self.set_model(model)
        told = {"verbose": verbose, "epochs": trial.budget.epochs, "steps": steps}
        self.set_params({**told, "trial_id": trial.trial_id, "batch_size": trial.batch_size, "seed": trial.seed})

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._ahead = 0
        super().on_epoch_begin(epoch, logs)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        super().on_train_batch_begin(batch + self._ahead, logs)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        super().on_train_batch_end(batch + self._ahead, logs)

    def next_batch(self, batch: int, logs: Any) -> bool:
        """Tell the end of an update and the beginning of the next one, within one step of `fit`.

        Args:
            batch: The step's last batch as `fit` counts.
            logs: Those of the update that has ended.

        Returns:
            False if a callback has stopped the training, so that there is to be no next one.
        """
        self.on_train_batch_end(batch, logs)
        if self.model.stop_training:
            return False
        self._ahead += 1
        self.on_train_batch_begin(batch)
        return True


_LOSSES = ("loss", "val_loss")
_MOST_COMPONENTS = 100


def scalars(logs: Mapping[str, Any]) -> dict[str, float]:
    """Return an epoch's logs as numbers: of an array its mean under its own name, and each component, `f1_score_0`.

    Args:
        logs: Numbers, or arrays of any shape, as `keras.metrics.F1Score()` logs one for every class. Of an array with
            more than 100 components the mean alone is kept, and what is no number is left out.
    """
    found: dict[str, float] = {}
    for name, value in logs.items():
        try:
            array = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError):
            continue
        if array.size:
            found[name] = float(array.mean())
        if array.ndim and 1 <= array.size <= _MOST_COMPONENTS:
            found |= {f"{name}_{i}": float(component) for i, component in enumerate(array.ravel())}
    return found


class EpochReporter(keras.callbacks.Callback):
    """Reports epochs; stops the training by `model.stop_training`, so that other callbacks still clean up.

    An epoch whose training or validation loss is NaN or infinite ends the trial as diverged and is not reported. A
    trial that has reached its goal ends as completed.

    Args:
        trial: What is trained.
        clock: Tells the training seconds and the gradients so far.
        report: Told every epoch; returns False to stop the trial.
    """

    def __init__(
        self,
        trial: Trial,
        clock: Progress,
        report: Callable[[EpochReport], bool],
    ) -> None:
        super().__init__()
        self._trial = trial
        self._clock = clock
        self._report = report
        self.status = Status.COMPLETED
        self.reason = ""
        self.epochs = 0
        self._reached = False

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        self.epochs = epoch + 1
        metrics = scalars(logs or {})
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
        updates = self._clock.updates // self._trial.accumulation_steps
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
