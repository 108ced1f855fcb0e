"""OfKind: the devices of one kind among those of an executor, for what is measured of a device."""

from __future__ import annotations

from tuning.run.executor import Device, Divisible, Executor
from tuning.run.forwarding import ForwardingExecutor


class OfKind(ForwardingExecutor):
    """An executor that shows the devices of one kind alone, since seconds of unlike ones cannot be compared.

    Args:
        executor: Has devices of several kinds, and tells what has happened on any of them.
        kind: The kind.
    """

    def __init__(self, executor: Executor, kind: str) -> None:
        super().__init__(executor)
        self._kind = kind

    def devices(self) -> tuple[Device, ...]:
        """Return the devices of the kind."""
        return tuple(device for device in self._executor.devices() if device.kind == self._kind)


def of_kind(executor: Executor, kind: str) -> Executor:
    """Return an executor with the devices of a kind alone; one that can be divided has no other kind."""
    return executor if isinstance(executor, Divisible) else OfKind(executor, kind)


def has_left(executor: Executor, kind: str) -> bool:
    """Return whether an executor has devices, but none of a kind."""
    devices = executor.devices()
    return bool(devices) and all(device.kind != kind for device in devices)
