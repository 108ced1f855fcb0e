"""Searches within memory: probed only where the largest batch size might not fit, capped at what does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from contracts import await_end
from fakes import ScriptedExecutor, description

from search_spaces.data import Data
from tuning.machine.capped import PREDICTED, CappedExecutor
from tuning.machine.memory import MemoryFindings, as_outcome, could_run_out, limit_of_search, memory_of_search
from tuning.machine.memory_ladder import Tried, next_of
from tuning.messages import Event, MemoryProbe, MemoryProbeRequest
from tuning.run.memory_limit import MemoryLimit
from tuning.search.options import SearchOptions
from tuning.trial import Status, TrialOutcome, TrialRequest

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
    assert executor.shutdowns == 0


def test_where_the_largest_does_not_fit_the_others_are_bisected() -> None:
    found, executor = memory_of(8, 16, 32, 64, 128, 256, 512, 1024, 1536)  # 757 would fit
    assert found is not None
    assert found.largest_batch_size == 512
    assert probed(executor) == [8, 1536, 128, 512, 1024]
    assert executor.shutdowns == 1


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


def test_workers_on_one_cpu_share_its_memory() -> None:
    alone = limit_of_search(ScriptedExecutor(), 10**18)
    shared = limit_of_search(ScriptedExecutor(devices=("cpu:0", "cpu:1")), 10**18)
    assert shared.bytes == pytest.approx(alone.bytes / 2, rel=0.2)  # other programs come and go
    assert limit_of_search(ScriptedExecutor(devices=("cpu:0", "cpu:1")), 10**6).bytes == 10**6


FINDINGS = MemoryFindings(
    tuple(Tried(size, True, (800 + 3 * size) * MIB) for size in (8, 64, 128, 256)), LIMIT, 0.01, 1024, "keras"
)


def test_what_does_not_fit_ends_at_once_and_what_fits_tells_its_predicted_peak() -> None:
    inner = ScriptedExecutor(lambda _: [0.5])
    executor = CappedExecutor(inner, FINDINGS)
    executor.submit(TrialRequest("big", batch_size=512, seed=0, epochs=1), "cpu:0")
    (outcome,) = await_end(executor, "big")
    assert isinstance(outcome, TrialOutcome)
    assert outcome.status is Status.OUT_OF_MEMORY
    assert "Not run: batch size 512 is above 256, the largest that fits" in outcome.reason
    assert inner.requests == []
    executor.submit(TrialRequest("small", batch_size=32, seed=0, epochs=1), "cpu:0")
    outcome = await_end(executor, "small")[-1]
    assert isinstance(outcome, TrialOutcome)
    assert outcome.status is Status.COMPLETED
    assert outcome.measurements[PREDICTED] == pytest.approx((800 + 3 * 32) * MIB)


def test_the_findings_become_a_run() -> None:
    outcome = as_outcome("probe", FINDINGS)
    assert outcome.status is Status.COMPLETED
    assert outcome.measurements["largest_batch_size"] == 256
    assert outcome.measurements["memory_bytes_per_example"] == pytest.approx(3 * MIB)


def test_with_accumulation_what_does_not_fit_is_trained_in_the_largest_parts_that_do() -> None:
    inner = ScriptedExecutor(lambda _: [0.5])
    executor = CappedExecutor(inner, FINDINGS, accumulate=True)
    for trial_id, size in (("a", 256), ("b", 1024), ("c", 600), ("d", 257)):
        executor.submit(TrialRequest(trial_id, batch_size=size, seed=0, epochs=1), "cpu:0")
        await_end(executor, trial_id)
    assert [request.micro_batch_size for request in inner.requests] == [None, 256, 200, 1]


def test_accumulation_without_a_probe_is_refused() -> None:
    with pytest.raises(ValueError, match="accumulate needs the probe"):
        SearchOptions(accumulate=True, probe=False)
