"""Ask a worker one question and wait for the answer; a worker that hangs is ended."""

from __future__ import annotations

import time
from collections.abc import Callable

from tuning.messages import Answer, Request
from tuning.run.executor import Executor
from tuning.run.memory_limit import EXIT_CODE
from tuning.trial import EpochReport, Status, TrialOutcome

PATIENCE_S = 300.0
_POLL_S = 1.0


def ask(
    executor: Executor,
    request: Request,
    *,
    patience_s: float = PATIENCE_S,
    now: Callable[[], float] = time.monotonic,
) -> Answer | TrialOutcome:
    """The answer to a request, or an outcome that says why there is none.

    Near its limit an allocator may retry for minutes instead of failing; after `patience_s` every worker is ended and
    the outcome is a failure. The executor starts a new worker for the next request.

    Args:
        executor: Its first device must be idle.
        request: The question.
        patience_s: How long to wait.
        now: The clock, in seconds.
    """
    executor.submit(request, executor.devices[0])
    deadline = now() + patience_s
    while now() < deadline:
        for event in executor.events(timeout_s=_POLL_S):
            if event.trial_id == request.trial_id and not isinstance(event, EpochReport):
                return event
    executor.shutdown()
    return TrialOutcome(request.trial_id, Status.FAILED, reason=f"It did not end within {patience_s:g} s.")


def ask_again(executor: Executor, request: Request) -> Answer | TrialOutcome:
    """As `ask`, but a request whose worker was killed is asked once more, of a new worker.

    A kill says little: who runs out of memory does so again, and what someone or something else killed does not count.
    """
    answer = ask(executor, request)
    killed = isinstance(answer, TrialOutcome) and answer.exit_code not in (None, EXIT_CODE)
    return ask(executor, request) if killed else answer
