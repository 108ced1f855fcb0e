"""ForwardingExecutor: an executor around another, whose heirs change a part of what that does."""

from __future__ import annotations

from tuning.messages import Event, Request
from tuning.run.executor import Device, Executor
from tuning.trial import Trial


class ForwardingExecutor:
    """An executor that hands everything on to another; see `Executor` for its methods.

    Args:
        executor: The other one.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def devices(self) -> tuple[Device, ...]:
        """Return the devices of the other executor."""
        return self._executor.devices()

    def submit(self, request: Trial | Request, device: str) -> None:
        """Start a request."""
        self._executor.submit(request, device)

    def events(self, timeout_s: float) -> list[Event]:
        """Return what has happened."""
        return self._executor.events(timeout_s)

    def stop(self, trial_id: str) -> None:
        """Ask a running trial to stop."""
        self._executor.stop(trial_id)

    def renew(self, device: str) -> None:
        """Replace a device's worker."""
        self._executor.renew(device)

    def close(self) -> None:
        """End every worker."""
        self._executor.close()
