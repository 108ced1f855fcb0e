"""CappedExecutor: runs the trials whose batch fits into memory, whole or in micro-batches."""

from __future__ import annotations

from dataclasses import replace

from tuning.machine.memory import MemoryFindings
from tuning.messages import Event, Request
from tuning.run.executor import Executor
from tuning.run.forwarding import ForwardingExecutor
from tuning.trial import Status, Trial, TrialOutcome

PREDICTED = "predicted_peak_memory_bytes"


class CappedExecutor(ForwardingExecutor):
    """An executor around another; a trial that does not fit ends at once as out of memory, or is trained in parts.

    One that fits and yet runs out of memory on a GPU is lost, to run again: another program may have taken memory of
    the card, or the worker's pool lies in pieces. That says nothing of the batch size.

    Args:
        executor: Runs what fits.
        memory: What fits; None where everything does.
        accumulate: Whether a batch that does not fit is trained as micro-batches, the largest that fit and divide it.
        kind: The kind of device that was measured; None for all.
    """

    def __init__(
        self,
        executor: Executor,
        memory: MemoryFindings | None,
        *,
        accumulate: bool = False,
        kind: str | None = None,
    ) -> None:
        super().__init__(executor)
        self._kind = kind
        self._memory = memory
        self._accumulate = accumulate
        self._refused: list[Event] = []
        self._running: dict[str, tuple[Trial, str]] = {}

    def submit(self, request: Trial | Request, device: str) -> None:
        """Start a request; a trial that does not fit is refused or divided."""
        if not isinstance(request, Trial):
            self._executor.submit(request, device)
        elif self._memory is None or self._memory.fits(request.batch_size):
            self._run(request, device)
        elif self._accumulate:
            micro = largest_divisor(request.batch_size, self._memory.largest_batch_size)
            self._run(replace(request, instructions=replace(request.instructions, micro_batch_size=micro)), device)
        else:
            reason = _why_not(request, self._memory)
            self._refused.append(TrialOutcome(request.trial_id, Status.OUT_OF_MEMORY, reason=reason))

    def events(self, timeout_s: float) -> list[Event]:
        """Return what has happened; the outcome of a trial tells what memory was expected, too."""
        refused, self._refused = self._refused, []
        return refused or [self._judged(event) for event in self._executor.events(timeout_s)]

    def _run(self, trial: Trial, device: str) -> None:
        self._running[trial.trial_id] = (trial, device)
        self._executor.submit(trial, device)

    def _judged(self, event: Event) -> Event:
        """Return an event; of a trial's outcome with the memory that was expected, and lost where that was there."""
        if not isinstance(event, TrialOutcome) or event.trial_id not in self._running:
            return event
        trial, device = self._running.pop(event.trial_id)
        if event.status is Status.OUT_OF_MEMORY and self._is_measured_gpu(device):
            reason = f"It fits, but another program may have held memory of the card: {event.reason}"
            return replace(event, status=Status.LOST, reason=reason)
        held = trial.instructions.micro_batch_size or trial.batch_size
        predicted = None if self._memory is None else self._memory.predicted_bytes(held)
        if predicted is None:
            return event
        return replace(event, measurements={**event.measurements, PREDICTED: float(predicted)})

    def _is_measured_gpu(self, device: str) -> bool:
        found = next((known for known in self.devices() if known.name == device), None)
        return found is not None and found.is_gpu and self._kind in (None, found.kind)


def _why_not(trial: Trial, memory: MemoryFindings) -> str:
    limit, predicted = memory.limit, memory.predicted_bytes(trial.batch_size)
    needs = "" if predicted is None else f" and would need about {predicted:,} bytes"
    return (
        f"Not run: batch size {trial.batch_size} is above {memory.largest_batch_size}, the largest that "
        f"fits{needs}; the limit is {limit.bytes:,} bytes ({limit.source})."
    )


def largest_divisor(batch_size: int, limit: int) -> int:
    """Return the largest number up to `limit`, which is at least 1, that divides a batch size.

    >>> largest_divisor(1024, 300)
    256
    """
    return next(size for size in range(min(batch_size, limit), 0, -1) if batch_size % size == 0)
