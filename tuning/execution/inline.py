"""InlineExecutor: trials in this very process, for tests and for stepping through with a debugger."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from tuning.probes import DescribeRequest, Event, Request
from tuning.trial import EpochReport, TrialRequest


class InlineExecutor:
    """Runs a request when its events are asked for, on one device named "inline".

    Args:
        session: A `TrainingSession`.
    """

    def __init__(self, session: Any) -> None:
        self._session = session
        self._waiting: Request | None = None
        self._stopped: set[str] = set()

    @property
    def devices(self) -> tuple[str, ...]:
        return ("inline",)

    def provide(self, threads: Collection[int | None]) -> None:
        """Nothing: this process has the threads it has."""

    def submit(self, request: Request, device: str) -> None:
        if device != "inline" or self._waiting is not None:
            raise ValueError(f"The device must be 'inline' and idle; got {device!r}.")
        self._waiting = request

    def events(self, timeout_s: float) -> list[Event]:  # noqa: ARG002  (nothing to wait for)
        request, self._waiting = self._waiting, None
        if request is None:
            return []
        if isinstance(request, DescribeRequest):
            return [self._session.describe(request)]
        if not isinstance(request, TrialRequest):
            return [self._session.probe(request)]
        events: list[Event] = []

        def report(epoch: EpochReport) -> bool:
            events.append(epoch)
            return epoch.trial_id not in self._stopped

        events.append(self._session.train(request, report))
        return events

    def stop(self, trial_id: str) -> None:
        self._stopped.add(trial_id)

    def shutdown(self) -> None:
        self._waiting = None
