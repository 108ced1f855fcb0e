"""OfKind: the devices of one kind among those of an executor, for what is measured of a device."""

from __future__ import annotations

from tuning.messages import Event, Request
from tuning.run.executor import Device, Divisible, Executor
from tuning.trial import Trial


class OfKind:
    """An executor that shows the devices of one kind alone, since seconds of unlike ones cannot be compared.

    Args:
        executor: Has devices of several kinds.
        kind: The kind.
    """

    def __init__(self, executor: Executor, kind: str) -> None:
        self._executor, self._kind = executor, kind

    def devices(self) -> tuple[Device, ...]:
        """Return the devices of the kind."""
        return tuple(device for device in self._executor.devices() if device.kind == self._kind)

    def submit(self, request: Trial | Request, device: str) -> None:
        """Start a request; see `Executor`."""
        self._executor.submit(request, device)

    def events(self, timeout_s: float) -> list[Event]:
        """Return what has happened, on whatever device; see `Executor`."""
        return self._executor.events(timeout_s)

    def stop(self, trial_id: str) -> None:
        """Ask a running trial to stop; see `Executor`."""
        self._executor.stop(trial_id)

    def renew(self, device: str) -> None:
        """Replace a device's worker; see `Executor`."""
        self._executor.renew(device)

    def close(self) -> None:
        """End every worker; see `Executor`."""
        self._executor.close()


def of_kind(executor: Executor, kind: str) -> Executor:
    """Return an executor with the devices of a kind alone; one that can be divided has no other kind."""
    return executor if isinstance(executor, Divisible) else OfKind(executor, kind)


def has_left(executor: Executor, kind: str) -> bool:
    """Return whether an executor has devices, but none of a kind."""
    devices = executor.devices()
    return bool(devices) and all(device.kind != kind for device in devices)
