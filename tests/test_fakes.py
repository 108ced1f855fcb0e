"""The executor of made-up devices behaves as the protocol says, since most tests of the search believe it."""

from __future__ import annotations

import pytest
from contracts import trial_of
from fakes import ScriptedExecutor, device, lost

from tuning.messages import DescribeRequest, MemoryProbe, MemoryProbeRequest, ModelDescription
from tuning.trial import EpochReport, Status, TrialOutcome


def test_devices_are_names_or_records_that_join_and_leave() -> None:
    executor = ScriptedExecutor(devices=("cpu:0", device("gpu:1", kind="A")))
    assert [(known.name, known.kind, known.is_gpu) for known in executor.devices()] == [
        ("cpu:0", "Imaginary 9000", False),
        ("gpu:1", "A", True),
    ]
    executor.join("cpu:7")
    executor.leave("cpu:0")
    assert [known.name for known in executor.devices()] == ["gpu:1", "cpu:7"]


def test_a_script_says_how_a_trial_goes() -> None:
    executor = ScriptedExecutor(lambda trial: [0.1, 0.2] if trial.batch_size == 8 else lost(trial))
    executor.submit(trial_of("a", 8), "cpu:0")
    first, second, ended = (executor.events(0.0)[0] for _ in range(3))
    assert isinstance(first, EpochReport)
    assert isinstance(second, EpochReport)
    assert [first.metrics["val_accuracy"], second.metrics["val_accuracy"]] == [0.1, 0.2]
    assert isinstance(ended, TrialOutcome)
    assert ended.status is Status.COMPLETED
    executor.submit(trial_of("b", 16), "cpu:0")
    (ended,) = executor.events(0.0)
    assert isinstance(ended, TrialOutcome)
    assert ended.status is Status.LOST
    assert executor.submitted == [("a", "cpu:0"), ("b", "cpu:0")]


@pytest.mark.parametrize("leaves_in_script", [True, False])
def test_what_runs_on_a_device_that_leaves_is_lost(leaves_in_script: bool) -> None:
    executor = ScriptedExecutor(lambda _: executor.leave("cpu:0") or [0.5] if leaves_in_script else [0.5])
    executor.submit(trial_of("a"), "cpu:0")
    if not leaves_in_script:
        executor.leave("cpu:0")
    (ended,) = executor.events(0.0)
    assert isinstance(ended, TrialOutcome)
    assert ended.status is Status.LOST
    assert executor.devices() == ()


def test_renewing_and_closing_drop_what_runs() -> None:
    executor = ScriptedExecutor(lambda _: [0.5])
    executor.submit(trial_of("a"), "cpu:0")
    executor.renew("cpu:0")
    executor.submit(trial_of("b"), "cpu:0")
    assert {event.trial_id for _ in range(2) for event in executor.events(0.0)} == {"b"}
    executor.submit(trial_of("c"), "cpu:0")
    executor.close()
    assert executor.events(0.0) == []
    assert (executor.renewed, executor.is_closed) == (["cpu:0"], True)


def test_a_trial_that_is_stopped_is_pruned_and_questions_have_answers_of_their_own() -> None:
    executor = ScriptedExecutor(lambda _: [0.5] * 9, probes=lambda asked: MemoryProbe(asked.trial_id, 8, 2, 1))
    executor.submit(trial_of("a"), "cpu:0")
    executor.stop("a")
    (ended,) = executor.events(0.0)
    assert isinstance(ended, TrialOutcome)
    assert ended.status is Status.PRUNED
    executor.submit(DescribeRequest("d", {}), "cpu:0")
    assert isinstance(executor.events(0.0)[0], ModelDescription)
    executor.submit(MemoryProbeRequest("m", 8), "cpu:0")
    assert executor.events(0.0) == [MemoryProbe("m", 8, 2, 1)]


def test_a_driver_that_waits_for_nothing_is_told_after_a_while() -> None:
    executor = ScriptedExecutor(devices=(), when_idle=lambda: executor.join("cpu:0"))
    assert executor.events(0.0) == []
    assert [known.name for known in executor.devices()] == ["cpu:0"]
    for _ in range(998):
        executor.events(0.0)
    with pytest.raises(AssertionError, match="waits for ever"):
        executor.events(0.0)
