"""Question: what an executor's first device is asked apart from trials, and how long its answer is waited for."""

from __future__ import annotations

import time
from collections.abc import Callable

from tuning.messages import Request, WorkerAnswer
from tuning.run.executor import Device, DeviceError, Executor
from tuning.run.memory_limit import EXIT_CODE
from tuning.trial import EpochReport, Status, TrialOutcome

PATIENCE_S = 300.0
_POLL_S = 1.0
_OVERDUE = "It did not end within"


def first_device(
    executor: Executor, *, patience_s: float = PATIENCE_S, now: Callable[[], float] = time.monotonic
) -> Device:
    """Return the first device of an executor, which is waited for while the workers start.

    Raises:
        DeviceError: If there is still none after `patience_s`.
    """
    deadline = now() + patience_s
    while not executor.devices():
        if now() >= deadline:
            raise DeviceError(f"At least one device must come up within {patience_s:g} s; got none. Free the machine.")
        executor.events(timeout_s=_POLL_S)
    return executor.devices()[0]


class Question:
    """A request that is asked at once, and whose answer can be waited for later.

    Near its limit an allocator may retry for minutes instead of failing; who waits longer than his patience has the
    worker replaced, and the outcome is a failure.

    Args:
        executor: Its first device must be idle.
        request: The question.
        patience_s: How long to wait for the device, and then for the answer.
        now: The clock, in seconds.

    Raises:
        DeviceError: If there is no device.
    """

    def __init__(
        self,
        executor: Executor,
        request: Request,
        *,
        patience_s: float = PATIENCE_S,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._executor, self._request, self._now, self._patience_s = executor, request, now, patience_s
        self._device = first_device(executor, patience_s=patience_s, now=now).name
        executor.submit(request, self._device)

    def answer(self, meanwhile: Callable[[], None] = lambda: None) -> WorkerAnswer | TrialOutcome:
        """Return the answer to the request, or an outcome that says why there is none.

        Args:
            meanwhile: What this process may do while it waits.
        """
        try:
            meanwhile()
        except Exception:
            self._executor.renew(self._device)
            raise
        deadline = self._now() + self._patience_s
        while self._now() < deadline:
            for event in self._executor.events(timeout_s=_POLL_S):
                if event.trial_id == self._request.trial_id and not isinstance(event, EpochReport):
                    return event
        self._executor.renew(self._device)
        reason = f"{_OVERDUE} {self._patience_s:.0f} s."
        return TrialOutcome(self._request.trial_id, Status.FAILED, reason=reason)


def ask(
    executor: Executor,
    request: Request,
    *,
    patience_s: float = PATIENCE_S,
    now: Callable[[], float] = time.monotonic,
) -> WorkerAnswer | TrialOutcome:
    """Return the answer to a request, or an outcome that says why there is none; the arguments are a `Question`'s."""
    return Question(executor, request, patience_s=patience_s, now=now).answer()


def is_overdue(outcome: TrialOutcome) -> bool:
    """Whether nobody waited any longer for the answer that this outcome stands for."""
    return outcome.reason.startswith(_OVERDUE)


def ask_again(
    executor: Executor,
    request: Request,
    *,
    patience_s: float = PATIENCE_S,
    now: Callable[[], float] = time.monotonic,
) -> WorkerAnswer | TrialOutcome:
    """Return the answer as `ask` does, but ask once more, of another worker, where the worker was killed or lost.

    A kill says little: who runs out of memory does so again, and what someone or something else killed does not count.
    Nor does the loss of a node.
    """
    answer = ask(executor, request, patience_s=patience_s, now=now)
    if not isinstance(answer, TrialOutcome):
        return answer
    gone = answer.status is Status.LOST or answer.exit_code not in (None, EXIT_CODE)
    return ask(executor, request, patience_s=patience_s, now=now) if gone else answer
