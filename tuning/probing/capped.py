"""CappedExecutor: runs no trial that memory has ruled out, and tells of the others what memory was expected."""

from __future__ import annotations

from dataclasses import replace

from tuning.execution.executor import Executor
from tuning.probing.memory import MemoryFindings
from tuning.trial import Event, Request, Status, TrialOutcome, TrialRequest

PREDICTED = "predicted_peak_memory_bytes"


class CappedExecutor:
    """An executor around another; a trial that does not fit ends at once as out of memory.

    Args:
        executor: Runs what fits.
        memory: What fits.
    """

    def __init__(self, executor: Executor, memory: MemoryFindings) -> None:
        self._executor = executor
        self._memory = memory
        self._refused: list[Event] = []
        self._running: dict[str, TrialRequest] = {}

    @property
    def devices(self) -> tuple[str, ...]:
        return self._executor.devices

    def submit(self, request: Request, device: str) -> None:
        if not isinstance(request, TrialRequest):
            self._executor.submit(request, device)
        elif self._memory.fits(request.batch_size):
            self._running[request.trial_id] = request
            self._executor.submit(request, device)
        else:
            self._refused.append(TrialOutcome(request.trial_id, Status.OUT_OF_MEMORY, reason=self._why(request)))

    def events(self, timeout_s: float) -> list[Event]:
        refused, self._refused = self._refused, []
        return refused or [self._with_prediction(event) for event in self._executor.events(timeout_s)]

    def stop(self, trial_id: str) -> None:
        self._executor.stop(trial_id)

    def shutdown(self) -> None:
        self._executor.shutdown()

    def _why(self, request: TrialRequest) -> str:
        limit = self._memory.limit
        predicted = self._memory.predicted_bytes(request.batch_size)
        needs = "" if predicted is None else f" and would need about {predicted:,} bytes"
        return (
            f"Not run: batch size {request.batch_size} is above {self._memory.largest_batch_size}, the largest that "
            f"fits{needs}; the limit is {limit.bytes:,} bytes ({limit.source})."
        )

    def _with_prediction(self, event: Event) -> Event:
        request = self._running.pop(event.trial_id, None) if isinstance(event, TrialOutcome) else None
        predicted = None if request is None else self._memory.predicted_bytes(request.batch_size)
        if predicted is None:
            return event
        assert isinstance(event, TrialOutcome)
        return replace(event, measurements={**event.measurements, PREDICTED: float(predicted)})
