"""Times the training steps of one trial, apart from compiling, validation, callbacks and disk."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

import keras
import numpy as np


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
