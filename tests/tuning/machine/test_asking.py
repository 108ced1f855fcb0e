"""Asking a worker one question."""

from __future__ import annotations

from fakes import ScriptedExecutor

from tuning.machine.asking import ask
from tuning.messages import Event, MemoryProbe, MemoryProbeRequest
from tuning.trial import Status, TrialOutcome


def test_the_answer_is_returned() -> None:
    executor = ScriptedExecutor(probes=lambda request: MemoryProbe(request.trial_id, 8, 100, 10))
    assert ask(executor, MemoryProbeRequest("m", 8)) == MemoryProbe("m", 8, 100, 10)


class HangingExecutor(ScriptedExecutor):
    """Never answers."""

    def events(self, timeout_s: float) -> list[Event]:
        return []


def test_a_worker_that_hangs_is_ended_and_said_to_have_failed() -> None:
    executor = HangingExecutor(probes=lambda request: MemoryProbe(request.trial_id, 8, 100, 10))
    seconds = iter(range(1000))
    answer = ask(executor, MemoryProbeRequest("m", 8), patience_s=30, now=lambda: float(next(seconds)))
    assert isinstance(answer, TrialOutcome)
    assert answer.status is Status.FAILED
    assert "within 30 s" in answer.reason
    assert executor.shutdowns == 1
