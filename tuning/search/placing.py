"""Placing: what is measured, and which idle device a trial is given to, where there are several kinds of device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from tuning.run.asking import first_device
from tuning.run.executor import Device, DeviceError, Executor
from tuning.run.of_kind import of_kind
from tuning.trial import Status, Trial, TrialOutcome


def kind_to_measure(executor: Executor, asked: str | None, before: str | None) -> str:
    """Return the kind of device that a search measures on: that asked for, else that of before, else the first one's.

    Args:
        executor: A device that is asked for is waited for.
        asked: What the user wants; None for nothing.
        before: What the study measured on when it was last searched; a kind that is not there now is given up.

    Raises:
        DeviceError: If no device of the kind that is asked for comes up.
    """
    if asked is None:
        first = first_device(executor).kind
        return before if before in {device.kind for device in executor.devices()} and before else first
    try:
        return first_device(of_kind(executor, asked)).kind
    except DeviceError:
        there = ", ".join(sorted({device.kind for device in executor.devices()})) or "none"
        raise DeviceError(
            f"device_kind must be the kind of a device that is there, of {there}; got {asked!r}."
        ) from None


class Placing:
    """Keeps trials away from kinds of device on which a batch size as large has run out of memory.

    What runs out on the kind that the search measures on has run out for good. Elsewhere it says only that this other
    kind has less memory: the trial runs again on the search's own kind.

    Args:
        kind: The kind of device that the search measures on; empty where there is one kind alone.
    """

    def __init__(self, kind: str = "") -> None:
        self._kind = kind
        self._too_large: dict[str, int] = {}

    def device_for(self, trial: Trial, idle: Sequence[Device], there: Sequence[Device]) -> Device | None:
        """Return the device of a trial; None if it has to wait for one of the search's own kind.

        Args:
            trial: About to start.
            idle: The devices that run nothing; at least one.
            there: All devices.
        """
        if not self._is_there(there):
            return idle[0]
        return next((device for device in idle if self._may_fit(trial, device)), None)

    def judged(self, outcome: TrialOutcome, trial: Trial, device: Device, there: Sequence[Device]) -> TrialOutcome:
        """Return an outcome; lost, where the trial may yet fit on a device of the search's own kind."""
        elsewhere = device.kind != self._kind and self._is_there(there)
        if outcome.status is not Status.OUT_OF_MEMORY or not elsewhere:
            return outcome
        self._too_large[device.kind] = min(trial.batch_size, self._too_large.get(device.kind, trial.batch_size))
        reason = f"It does not fit on {device.kind}, and runs again on {self._kind}: {outcome.reason}"
        return replace(outcome, status=Status.LOST, reason=reason)

    def _is_there(self, devices: Sequence[Device]) -> bool:
        return any(device.kind == self._kind for device in devices)

    def _may_fit(self, trial: Trial, device: Device) -> bool:
        return trial.batch_size < self._too_large.get(device.kind, math.inf)
