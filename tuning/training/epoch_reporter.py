"""The Keras callback that reports each epoch of a trial, and ends it when it diverges or is to be stopped."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import keras

from tuning.training.clock import TrainingClock
from tuning.training.order import ExampleOrder
from tuning.trial import EpochReport, Status, TrialRequest

_LOSSES = ("loss", "val_loss")


class EpochReporter(keras.callbacks.Callback):
    """Reports epochs; stops the training by `model.stop_training`, so that other callbacks still clean up.

    An epoch whose training or validation loss is NaN or infinite ends the trial as diverged and is not reported. A
    trial that has reached its goal ends as completed.

    Args:
        request: The trial.
        order: Tells the gradients of each epoch.
        clock: Tells the training seconds.
        report: Told every epoch; returns False to stop the trial.
    """

    def __init__(
        self,
        request: TrialRequest,
        order: ExampleOrder,
        clock: TrainingClock,
        report: Callable[[EpochReport], bool],
    ) -> None:
        super().__init__()
        self._request = request
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
        elif not keep_going and self.epochs < self._request.epochs:
            self._stop(Status.PRUNED, f"Stopped by the search after epoch {self.epochs} of {self._request.epochs}.")

    def _epoch_report(self, metrics: Mapping[str, float]) -> EpochReport:
        updates = self._order.updates_after(self.epochs) // self._request.accumulation_steps
        return EpochReport(
            trial_id=self._request.trial_id,
            epoch=self.epochs,
            examples_seen=updates * self._request.batch_size,
            updates=updates,
            metrics=metrics,
            seconds=self._clock.seconds,
        )

    def _has_reached_its_goal(self, metrics: Mapping[str, float]) -> bool:
        goal = self._request.goal
        if goal is None:
            return False
        self._reached = self._reached or goal.is_reached(metrics)
        return self._reached and self.epochs >= goal.least_epochs

    def _stop(self, status: Status, reason: str) -> None:
        self.status, self.reason = status, reason
        self.model.stop_training = True
