"""Asking a worker one question."""

from __future__ import annotations

import pytest
from fakes import ScriptedExecutor

from tuning.messages import Event, MemoryProbe, MemoryProbeRequest
from tuning.run.asking import Question, ask, ask_again, first_device
from tuning.run.executor import DeviceError
from tuning.trial import Status, TrialOutcome


def test_the_answer_is_returned() -> None:
    executor = ScriptedExecutor(probes=lambda request: MemoryProbe(request.trial_id, 8, 100, 10))
    assert ask(executor, MemoryProbeRequest("m", 8)) == MemoryProbe("m", 8, 100, 10)


def test_what_is_done_meanwhile_is_done_while_the_worker_works() -> None:
    executor = ScriptedExecutor(probes=lambda request: MemoryProbe(request.trial_id, 8, 100, 10))
    begun: list[int] = []
    Question(executor, MemoryProbeRequest("m", 8)).answer(lambda: begun.append(len(executor.submitted)))
    assert begun == [1]


def test_a_failure_meanwhile_leaves_the_device_idle() -> None:
    executor = ScriptedExecutor(probes=lambda request: MemoryProbe(request.trial_id, 8, 100, 10))

    def fail() -> None:
        raise OSError("the disk is full")

    question = Question(executor, MemoryProbeRequest("m", 8))
    with pytest.raises(OSError, match="the disk is full"):
        question.answer(meanwhile=fail)
    assert executor.renewed == ["cpu:0"]


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
    assert executor.renewed == ["cpu:0"]


def test_the_first_device_is_waited_for() -> None:
    executor = ScriptedExecutor(devices=(), when_idle=lambda: executor.join("cpu:7"))
    assert first_device(executor).name == "cpu:7"


def test_a_device_that_never_comes_is_an_error_of_one_line() -> None:
    seconds = iter(range(1000))
    with pytest.raises(DeviceError, match="must come up within 30 s; got none"):
        first_device(ScriptedExecutor(devices=()), patience_s=30, now=lambda: float(next(seconds)))


@pytest.mark.parametrize(
    ("status", "exit_code", "questions"),
    [(Status.FAILED, -9, 2), (Status.FAILED, 86, 1), (Status.FAILED, None, 1), (Status.LOST, None, 2)],
)
def test_only_a_worker_that_was_killed_or_lost_is_asked_again(
    status: Status, exit_code: int | None, questions: int
) -> None:
    def dies(request: MemoryProbeRequest) -> Event:
        return TrialOutcome(request.trial_id, status, exit_code=exit_code)

    executor = ScriptedExecutor(probes=dies)
    ask_again(executor, MemoryProbeRequest("m", 8))
    assert len(executor.probed) == questions
