"""Ask a worker one question and wait for the answer; a worker that hangs is replaced."""

from __future__ import annotations

import time
from collections.abc import Callable

from tuning.messages import Request, WorkerAnswer
from tuning.run.executor import Device, DeviceError, Executor
from tuning.run.memory_limit import EXIT_CODE
from tuning.trial import EpochReport, Status, TrialOutcome

PATIENCE_S = 300.0
_POLL_S = 1.0


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
            raise DeviceError(f"At least one device must come up within {patience_s:g} s; got none. Look at its log.")
        executor.events(timeout_s=_POLL_S)
    return executor.devices()[0]


def ask(
    executor: Executor,
    request: Request,
    *,
    patience_s: float = PATIENCE_S,
    now: Callable[[], float] = time.monotonic,
) -> WorkerAnswer | TrialOutcome:
    """Return the answer to a request, or an outcome that says why there is none.

    Near its limit an allocator may retry for minutes instead of failing; after `patience_s` the worker is replaced and
    the outcome is a failure.

    Args:
        executor: Its first device must be idle.
        request: The question.
        patience_s: How long to wait.
        now: The clock, in seconds.
    """
    device = first_device(executor, patience_s=patience_s, now=now).name
    executor.submit(request, device)
    deadline = now() + patience_s
    while now() < deadline:
        for event in executor.events(timeout_s=_POLL_S):
            if event.trial_id == request.trial_id and not isinstance(event, EpochReport):
                return event
    executor.renew(device)
    return TrialOutcome(request.trial_id, Status.FAILED, reason=f"It did not end within {patience_s:g} s.")


def ask_again(executor: Executor, request: Request) -> WorkerAnswer | TrialOutcome:
    """Return the answer as `ask` does, but ask once more, of a new worker, where the worker was killed.

    A kill says little: who runs out of memory does so again, and what someone or something else killed does not count.
    """
    answer = ask(executor, request)
    killed = isinstance(answer, TrialOutcome) and answer.exit_code not in (None, EXIT_CODE)
    return ask(executor, request) if killed else answer
