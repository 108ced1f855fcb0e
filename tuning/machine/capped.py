"""CappedExecutor: runs no trial that memory has ruled out, or runs it in parts; tells what memory was expected."""

from __future__ import annotations

from dataclasses import replace

from tuning.machine.memory import MemoryFindings
from tuning.messages import Event, Request
from tuning.run.executor import Device, Executor
from tuning.trial import Status, Trial, TrialOutcome

PREDICTED = "predicted_peak_memory_bytes"


class CappedExecutor:
    """An executor around another; a trial that does not fit ends at once as out of memory, or is trained in parts.

    Args:
        executor: Runs what fits.
        memory: What fits.
        accumulate: Whether a batch that does not fit is trained as micro-batches, the largest that fit and divide it.
    """

    def __init__(self, executor: Executor, memory: MemoryFindings, *, accumulate: bool = False) -> None:
        self._executor = executor
        self._memory = memory
        self._accumulate = accumulate
        self._refused: list[Event] = []
        self._running: dict[str, Trial] = {}

    def devices(self) -> tuple[Device, ...]:
        """Return the devices of the inner executor."""
        return self._executor.devices()

    def submit(self, request: Trial | Request, device: str) -> None:
        """Start a request; a trial that does not fit is refused or divided."""
        if not isinstance(request, Trial):
            self._executor.submit(request, device)
        elif self._memory.fits(request.batch_size):
            self._run(request, device)
        elif self._accumulate:
            micro = largest_divisor(request.batch_size, self._memory.largest_batch_size)
            self._run(replace(request, instructions=replace(request.instructions, micro_batch_size=micro)), device)
        else:
            self._refused.append(TrialOutcome(request.trial_id, Status.OUT_OF_MEMORY, reason=self._why(request)))

    def events(self, timeout_s: float) -> list[Event]:
        """Return what has happened; the outcome of a trial tells what memory was expected, too."""
        refused, self._refused = self._refused, []
        return refused or [self._with_prediction(event) for event in self._executor.events(timeout_s)]

    def stop(self, trial_id: str) -> None:
        """Ask a running trial to stop."""
        self._executor.stop(trial_id)

    def renew(self, device: str) -> None:
        """Replace a device's worker."""
        self._executor.renew(device)

    def close(self) -> None:
        """End every worker."""
        self._executor.close()

    def _run(self, trial: Trial, device: str) -> None:
        self._running[trial.trial_id] = trial
        self._executor.submit(trial, device)

    def _why(self, trial: Trial) -> str:
        limit = self._memory.limit
        predicted = self._memory.predicted_bytes(trial.batch_size)
        needs = "" if predicted is None else f" and would need about {predicted:,} bytes"
        return (
            f"Not run: batch size {trial.batch_size} is above {self._memory.largest_batch_size}, the largest that "
            f"fits{needs}; the limit is {limit.bytes:,} bytes ({limit.source})."
        )

    def _with_prediction(self, event: Event) -> Event:
        trial = self._running.pop(event.trial_id, None) if isinstance(event, TrialOutcome) else None
        held = None if trial is None else trial.instructions.micro_batch_size or trial.batch_size
        predicted = None if held is None else self._memory.predicted_bytes(held)
        if predicted is None:
            return event
        assert isinstance(event, TrialOutcome)
        return replace(event, measurements={**event.measurements, PREDICTED: float(predicted)})


def largest_divisor(batch_size: int, limit: int) -> int:
    """Return the largest number up to `limit`, which is at least 1, that divides a batch size.

    >>> largest_divisor(1024, 300)
    256
    """
    return next(size for size in range(min(batch_size, limit), 0, -1) if batch_size % size == 0)
