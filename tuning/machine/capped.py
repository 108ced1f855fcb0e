"""CappedExecutor: runs no trial that memory has ruled out, or runs it in parts; tells what memory was expected."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from tuning.machine.memory import MemoryFindings
from tuning.messages import Event, Request
from tuning.run.executor import Executor
from tuning.trial import Status, TrialOutcome, TrialRequest

PREDICTED = "predicted_peak_memory_bytes"


class CappedExecutor:
    """An executor around another; a trial that does not fit ends at once as out of memory, or is trained in parts.

    Args:
        executor: Runs what fits.
        memory: What fits.
        accumulate: Train a batch that does not fit as micro-batches, the largest that fit and divide it.
    """

    def __init__(self, executor: Executor, memory: MemoryFindings, *, accumulate: bool = False) -> None:
        self._executor = executor
        self._memory = memory
        self._accumulate = accumulate
        self._refused: list[Event] = []
        self._running: dict[str, TrialRequest] = {}

    @property
    def devices(self) -> tuple[str, ...]:
        return self._executor.devices

    def provide(self, threads: Collection[int | None]) -> None:
        self._executor.provide(threads)

    def submit(self, request: Request, device: str) -> None:
        if not isinstance(request, TrialRequest):
            self._executor.submit(request, device)
        elif self._memory.fits(request.batch_size):
            self._run(request, device)
        elif self._accumulate:
            micro = largest_divisor(request.batch_size, self._memory.largest_batch_size)
            self._run(replace(request, micro_batch_size=micro), device)
        else:
            self._refused.append(TrialOutcome(request.trial_id, Status.OUT_OF_MEMORY, reason=self._why(request)))

    def events(self, timeout_s: float) -> list[Event]:
        refused, self._refused = self._refused, []
        return refused or [self._with_prediction(event) for event in self._executor.events(timeout_s)]

    def stop(self, trial_id: str) -> None:
        self._executor.stop(trial_id)

    def shutdown(self) -> None:
        self._executor.shutdown()

    def _run(self, request: TrialRequest, device: str) -> None:
        self._running[request.trial_id] = request
        self._executor.submit(request, device)

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
        held = None if request is None else request.micro_batch_size or request.batch_size
        predicted = None if held is None else self._memory.predicted_bytes(held)
        if predicted is None:
            return event
        assert isinstance(event, TrialOutcome)
        return replace(event, measurements={**event.measurements, PREDICTED: float(predicted)})


def largest_divisor(batch_size: int, limit: int) -> int:
    """The largest number up to `limit`, which is at least 1, that divides a batch size.

    >>> largest_divisor(1024, 300)
    256
    """
    return next(size for size in range(min(batch_size, limit), 0, -1) if batch_size % size == 0)
