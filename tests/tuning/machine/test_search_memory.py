"""Searches within memory: probed only where the largest batch size might not fit, capped at what does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from contracts import await_end
from fakes import ScriptedExecutor, description

from search_spaces.data import Data
from search_spaces.space import Setting
from tuning.machine.capped_executor import PREDICTED, CappedExecutor
from tuning.machine.memory import MemoryFindings, could_run_out, memory_of_search
from tuning.machine.memory_ladder import Tried, next_of
from tuning.messages import Event, MemoryProbe, MemoryProbeRequest
from tuning.run.memory_limit import MemoryLimit
from tuning.trial import Status, Trial, TrialOutcome

MIB, GIB = 2**20, 2**30
LIMIT = MemoryLimit(3 * GIB, "--memory-limit")
IMAGES = np.zeros((2000, 64, 64, 3), "float32")
DATA = Data(IMAGES, np.zeros(2000), IMAGES[:10], np.zeros(10))


def worker(request: Any) -> Event:
    """3 MiB per example above 800 MiB."""
    peak = (800 + 3 * request.batch_size) * MIB
    if peak > LIMIT.bytes:
        return TrialOutcome(request.trial_id, Status.OUT_OF_MEMORY, reason="too large", exit_code=86)
    return MemoryProbe(request.trial_id, request.batch_size, peak, 700 * MIB)


def memory_of(*sizes: int, probes: Any = worker) -> tuple[MemoryFindings | None, ScriptedExecutor]:
    executor = ScriptedExecutor(probes=probes)
    return memory_of_search(executor, LIMIT, sizes=sizes, data=DATA, description=description()), executor


def test_small_data_and_models_are_not_asked_about() -> None:
    digits = Data(np.zeros((1437, 64), "float32"), np.zeros(1437), np.zeros((360, 64), "float32"), np.zeros(360))
    assert not could_run_out(128, digits, description(parameters=10_000), 4 * GIB)
    assert could_run_out(128, digits, description(parameters=10_000), 2 * GIB)
    assert could_run_out(128, digits, description(parameters=10**9), 16 * GIB)
    assert could_run_out(128, DATA, description(), 16 * GIB)


def test_known_tensors_tell_more_than_a_guess() -> None:
    known = replace(description(), tensor_bytes_per_example=MIB)
    assert not could_run_out(512, DATA, known, 4 * GIB)
    assert could_run_out(1536, DATA, known, 4 * GIB)


def probed(executor: ScriptedExecutor) -> list[int]:
    return [request.batch_size for request in executor.probed if isinstance(request, MemoryProbeRequest)]


def test_a_largest_size_that_fits_clears_all_others() -> None:
    found, executor = memory_of(8, 32, 128, 512)
    assert found is not None
    assert found.largest_batch_size == 512
    assert found.predicted_bytes(128) == pytest.approx((800 + 3 * 128) * MIB)
    assert probed(executor) == [8, 512]
    assert executor.renewed == []


def test_where_the_largest_does_not_fit_the_others_are_bisected() -> None:
    found, executor = memory_of(8, 16, 32, 64, 128, 256, 512, 1024, 1536)  # 757 would fit
    assert found is not None
    assert found.largest_batch_size == 512
    assert probed(executor) == [8, 1536, 128, 512, 1024]
    assert executor.renewed == ["cpu:0"]


@pytest.mark.parametrize("sizes", [(8,), (8, 16), (1, 3, 9, 27, 81, 243, 729, 2187)])
@pytest.mark.parametrize("limit", [0, 1, 8, 15, 100, 729, 5000])
def test_bisecting_finds_the_largest_of_any_sizes(sizes: tuple[int, ...], limit: int) -> None:
    tried: list[Tried] = []
    while (coming := next_of(tried, sizes)) is not None:
        assert coming.batch_size not in [probe.batch_size for probe in tried]
        fits = coming.batch_size <= limit
        tried.append(Tried(coming.batch_size, fits, 100 if fits else None))
    fitting = [size for size in sizes if size <= limit]
    assert max((probe.batch_size for probe in tried if probe.fits), default=0) == max(fitting, default=0)


def test_a_failure_that_is_no_shortage_is_left_to_the_trials() -> None:
    found, _ = memory_of(8, 512, probes=lambda r: TrialOutcome(r.trial_id, Status.FAILED, reason="odd"))
    assert found is None


def test_not_even_the_smallest_size_is_bad_input() -> None:
    def full(request: Any) -> Event:
        return TrialOutcome(request.trial_id, Status.OUT_OF_MEMORY, reason="too large", exit_code=86)

    with pytest.raises(ValueError, match="The smallest batch size, 8, must fit into memory; too large"):
        memory_of(8, 512, probes=full)


FINDINGS = MemoryFindings(
    tuple(Tried(size, True, (800 + 3 * size) * MIB) for size in (8, 64, 128, 256)), LIMIT, 0.01, 1024, "keras"
)


def test_what_does_not_fit_ends_at_once_and_what_fits_tells_its_predicted_peak() -> None:
    inner = ScriptedExecutor(lambda _: [0.5])
    executor = CappedExecutor(inner, FINDINGS)
    executor.submit(Trial(Setting(512, None), 0, trial_id="big"), "cpu:0")
    (outcome,) = await_end(executor, "big")
    assert isinstance(outcome, TrialOutcome)
    assert outcome.status is Status.OUT_OF_MEMORY
    assert "Not run: batch size 512 is above 256, the largest that fits" in outcome.reason
    assert inner.requests == []
    executor.submit(Trial(Setting(32, None), 0, trial_id="small"), "cpu:0")
    outcome = await_end(executor, "small")[-1]
    assert isinstance(outcome, TrialOutcome)
    assert outcome.status is Status.COMPLETED
    assert outcome.measurements[PREDICTED] == pytest.approx((800 + 3 * 32) * MIB)


def test_the_findings_are_shown_as_a_measurement() -> None:
    measurement = FINDINGS.measurement
    assert measurement.name == "memory"
    assert measurement.values["largest_batch_size"] == 256
    assert measurement.values["memory_bytes_per_example"] == pytest.approx(3 * MIB)
    assert ("peak_memory_bytes", float((800 + 3 * 64) * MIB), 64) in measurement.series


def test_with_accumulation_what_does_not_fit_is_trained_in_the_largest_parts_that_do() -> None:
    inner = ScriptedExecutor(lambda _: [0.5])
    executor = CappedExecutor(inner, FINDINGS, accumulate=True)
    for trial_id, size in (("a", 256), ("b", 1024), ("c", 600), ("d", 257)):
        executor.submit(Trial(Setting(size, None), 0, trial_id=trial_id), "cpu:0")
        await_end(executor, trial_id)
    assert [trial.instructions.micro_batch_size for trial in inner.requests] == [None, 256, 200, 1]


def test_the_peak_of_a_batch_in_parts_is_predicted_as_that_of_a_part() -> None:
    executor = CappedExecutor(ScriptedExecutor(lambda _: [0.5]), FINDINGS, accumulate=True)
    executor.submit(Trial(Setting(1024, None), 0, trial_id="parts"), "cpu:0")
    outcome = await_end(executor, "parts")[-1]
    assert isinstance(outcome, TrialOutcome)
    assert outcome.measurements[PREDICTED] == pytest.approx((800 + 3 * 256) * MIB)


def test_a_trial_that_fits_and_runs_out_of_a_card_s_memory_runs_again() -> None:
    """Another program may have taken it: nothing is learnt of the batch size."""

    def full(trial: Trial) -> TrialOutcome:
        return TrialOutcome(trial.trial_id, Status.OUT_OF_MEMORY, reason="OOM when allocating tensor")

    for device, memory, expected in (
        ("gpu:GPU-1", FINDINGS, Status.LOST),
        ("gpu:GPU-1", None, Status.LOST),
        ("cpu:0", FINDINGS, Status.OUT_OF_MEMORY),
    ):
        executor = CappedExecutor(ScriptedExecutor(full, devices=(device,)), memory)
        executor.submit(Trial(Setting(64, None), 0, trial_id="t"), device)
        outcome = await_end(executor, "t")[-1]
        assert isinstance(outcome, TrialOutcome)
        assert (outcome.status, "OOM when allocating tensor" in outcome.reason) == (expected, True)


@pytest.mark.parametrize(("device", "expected"), [("gpu:GPU-1", "auto"), ("cpu:0", "keras")])
def test_a_card_is_probed_in_the_loop_of_the_trials(device: str, expected: str) -> None:
    loops = []

    def answer(request: MemoryProbeRequest) -> MemoryProbe:
        loops.append(request.loop)
        return MemoryProbe(request.trial_id, request.batch_size, 2**20, 2**19)

    executor = ScriptedExecutor(probes=answer, devices=(device,))
    memory_of_search(executor, LIMIT, sizes=(8, 512), data=DATA, description=description(), loop="auto")
    assert set(loops) == {expected}
