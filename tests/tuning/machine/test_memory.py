"""The largest batch size that fits, on scripted workers with known memory."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fakes import ScriptedExecutor

from tuning.machine.memory import ENFORCED_MARGIN, MemoryFindings, margin_for, probe_memory
from tuning.machine.memory_ladder import Tried, line_through, next_probe
from tuning.messages import MemoryProbe, MemoryProbeRequest
from tuning.run.memory_limit import EXIT_CODE, MemoryLimit
from tuning.trial import Status, TrialOutcome

MIB, GIB = 2**20, 2**30
Answerer = Callable[[MemoryProbeRequest], MemoryProbe | TrialOutcome]
LIMIT = MemoryLimit(3 * GIB, "--memory-limit")


def machine(
    peak: Callable[[int], float], limit_bytes: int
) -> Callable[[MemoryProbeRequest], MemoryProbe | TrialOutcome]:
    """A worker that needs `peak(batch_size)` bytes and ends itself above the limit."""

    def answer(request: MemoryProbeRequest) -> MemoryProbe | TrialOutcome:
        needed = int(peak(request.batch_size))
        if needed > limit_bytes:
            return TrialOutcome(request.trial_id, Status.OUT_OF_MEMORY, reason="too large", exit_code=EXIT_CODE)
        return MemoryProbe(request.trial_id, request.batch_size, needed, 800 * MIB)

    return answer


def find(
    peak: Callable[[int], float],
    *,
    limit: MemoryLimit = LIMIT,
    n_train: int = 10**6,
    margin: float = ENFORCED_MARGIN,
    bytes_per_example: int | None = None,
) -> tuple[MemoryFindings, ScriptedExecutor]:
    executor = ScriptedExecutor(probes=machine(peak, limit.bytes))
    found = probe_memory(executor, limit, n_train=n_train, margin=margin, bytes_per_example=bytes_per_example)
    return found, executor


def largest_true(peak: Callable[[int], float], limit_bytes: int) -> int:
    low, high = 1, 10**8
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if peak(middle) <= limit_bytes else (low, middle - 1)
    return low


@pytest.mark.parametrize("per_example", [25e3, 0.1e6, 0.7e6, 2.5e6, 12e6, 40e6])
@pytest.mark.parametrize("base_mib", [700, 1200])
def test_the_largest_size_is_found_within_5_percent_in_at_most_7_probes(per_example: float, base_mib: int) -> None:
    def peak(size: int) -> float:
        return max(base_mib * MIB + per_example * size, (base_mib + 60) * MIB)  # flat at first, as measured

    found, _ = find(peak)
    truth = min(10**6, largest_true(peak, LIMIT.bytes))
    assert len(found.probes) <= 7
    assert found.verified
    assert 0.95 * truth <= found.largest_batch_size <= truth


@pytest.mark.parametrize("per_example", [25e3, 0.7e6, 12e6])
@pytest.mark.parametrize("pessimism", [1, 10])
def test_a_bound_on_the_bytes_of_an_example_saves_probes(per_example: float, pessimism: int) -> None:
    def peak(size: int) -> float:
        return max(900 * MIB + per_example * size, 960 * MIB) + (size * 7919 % 21 - 10) * MIB

    plain, _ = find(peak)
    found, _ = find(peak, bytes_per_example=int(per_example * pessimism))
    truth = (LIMIT.bytes - 900 * MIB) / per_example
    assert len(found.probes) <= len(plain.probes) <= 7
    assert 0.95 * truth <= found.largest_batch_size <= 1.02 * truth


@pytest.mark.parametrize("per_example", [2e3, 5e3, 10e3])
def test_hundreds_of_thousands_of_tiny_examples_are_found_within_10_percent(per_example: float) -> None:
    def peak(size: int) -> float:
        return max(900 * MIB + per_example * size, 960 * MIB)  # nothing to see before many thousands

    found, _ = find(peak)
    assert 0.9 * min(10**6, largest_true(peak, LIMIT.bytes)) <= found.largest_batch_size


def test_noise_in_the_peaks_costs_probes_not_the_answer() -> None:
    def peak(size: int) -> float:
        return 900 * MIB + 0.5e6 * size + (size * 7919 % 41 - 20) * MIB  # up to 20 MiB either way

    found, _ = find(peak)
    truth = (3 * GIB - 900 * MIB) / 0.5e6
    assert len(found.probes) <= 7
    assert 0.94 * truth <= found.largest_batch_size <= 1.02 * truth


def test_where_everything_fits_the_whole_training_set_is_run_in_one_worker() -> None:
    found, executor = find(lambda size: 800 * MIB + 1000 * size, n_train=1437)
    assert found.largest_batch_size == 1437
    assert found.limited_by == "data"
    assert 5 <= len(found.probes) <= 7
    assert [probe.batch_size for probe in found.probes] == sorted(probe.batch_size for probe in found.probes)
    assert executor.renewed == []


def test_close_to_the_limit_every_size_gets_a_worker_of_its_own() -> None:
    found, executor = find(lambda size: 800 * MIB + 2.5e6 * size)
    assert len(executor.renewed) >= len(found.probes) - 2


@pytest.mark.parametrize("jump_at", [150, 320, 600, 610])
def test_memory_that_jumps_between_sizes_is_bisected_to_7_percent(jump_at: int) -> None:
    def peak(size: int) -> float:
        return 800 * MIB + 2.5e6 * size + (1500 * MIB if size >= jump_at else 0)

    found, _ = find(peak)
    truth = largest_true(peak, LIMIT.bytes)
    assert len(found.probes) <= 10
    assert found.largest_batch_size <= truth
    assert truth <= 1.07 * found.largest_batch_size + 2
    assert not all(probe.fits for probe in found.probes)


def test_nothing_is_bisected_where_the_line_knows_what_fits() -> None:
    def peak(size: int) -> float:
        return max(700 * MIB + 40e6 * size, 760 * MIB)

    found, _ = find(peak)
    assert [probe.batch_size for probe in found.probes] == [8, 128, 32, 61]  # the largest that fits is 62


@pytest.mark.parametrize("bytes_per_example", [None, 10**7])
def test_a_line_that_flattens_is_followed_to_the_limit(bytes_per_example: int | None) -> None:
    def peak(size: int) -> float:
        return 1250e6 + 20.4e6 * size**0.65 if size > 8 else 1570e6  # like convolutions, measured

    found, _ = find(peak, limit=MemoryLimit(int(2.5 * GIB), "--memory-limit"), bytes_per_example=bytes_per_example)
    truth = largest_true(peak, int(2.5 * GIB))
    assert len(found.probes) <= 7
    assert 0.95 * truth <= found.largest_batch_size <= truth


def test_nothing_fits_is_said() -> None:
    found, _ = find(lambda _: 4 * GIB)
    assert [probe.batch_size for probe in found.probes] == [8, 1]
    assert found.largest_batch_size == 0
    assert not found.verified
    assert found.to_json()["intercept_bytes"] is None


def test_only_one_example_fits() -> None:
    found, _ = find(lambda size: 2.5 * GIB + 0.2 * GIB * size)
    assert found.largest_batch_size in (1, 2)


def test_a_peak_above_the_limit_does_not_fit_even_if_the_worker_lived() -> None:
    executor = ScriptedExecutor(probes=lambda r: MemoryProbe(r.trial_id, r.batch_size, 4 * GIB, 0))
    found = probe_memory(executor, LIMIT, n_train=100, margin=0.02)
    assert found.largest_batch_size == 0
    assert "exceeds the limit" in found.probes[0].reason


@pytest.mark.parametrize("killed", range(6))
def test_killing_the_worker_at_any_probe_changes_no_result(killed: int) -> None:
    def peak(size: int) -> float:
        return 800 * MIB + 0.3e6 * size

    undisturbed, _ = find(peak)
    answer, asked = machine(peak, LIMIT.bytes), []

    def disturbed(request: MemoryProbeRequest) -> MemoryProbe | TrialOutcome:
        asked.append(request.batch_size)
        if len(asked) == killed + 1:
            return TrialOutcome(request.trial_id, Status.OUT_OF_MEMORY, reason="died of SIGKILL", exit_code=-9)
        return answer(request)

    found = probe_memory(ScriptedExecutor(probes=disturbed), LIMIT, n_train=10**6, margin=0.02)
    assert found.largest_batch_size == pytest.approx(undisturbed.largest_batch_size, rel=0.05)


def test_a_worker_that_dies_again_and_again_is_out_of_memory() -> None:
    def answer(request: MemoryProbeRequest) -> MemoryProbe | TrialOutcome:
        if request.batch_size > 100:
            return TrialOutcome(request.trial_id, Status.OUT_OF_MEMORY, reason="died of SIGSEGV", exit_code=-11)
        return MemoryProbe(request.trial_id, request.batch_size, 800 * MIB + request.batch_size, 0)

    found = probe_memory(ScriptedExecutor(probes=answer), LIMIT, n_train=10**6, margin=0.02)
    assert 50 < found.largest_batch_size <= 100
    assert all(probe.batch_size > 100 for probe in found.probes if not probe.fits)


def test_an_enforced_limit_needs_less_margin_than_shared_memory() -> None:
    shared = MemoryLimit(GIB, "available memory")
    assert margin_for(LIMIT, has_batch_normalization=False, loop="keras") == 0.005
    assert margin_for(shared, has_batch_normalization=False, loop="keras") == 0.10
    assert margin_for(shared, has_batch_normalization=True, loop="keras") == pytest.approx(0.15)
    assert margin_for(shared, has_batch_normalization=False, loop="xla") == pytest.approx(0.15)


def test_the_json_has_what_scripts_read() -> None:
    found, _ = find(lambda size: 800 * MIB + 2.5e6 * size)
    told = found.to_json()
    assert told["bytes_per_example"] == pytest.approx(2.5e6, rel=1e-3)
    assert told["intercept_bytes"] == pytest.approx(800 * MIB, rel=1e-2)
    assert told["limit_bytes"] == 3 * GIB
    assert told["limit_source"] == "--memory-limit"
    assert told["verified"] is True
    assert {"batch_size", "fits", "peak_bytes"} <= told["probes"][0].keys()


def test_a_failure_below_a_size_that_fits_does_not_end_the_ladder() -> None:
    tried = [Tried(8, fits=False), Tried(64, fits=True, peak_bytes=900 * MIB)]
    coming = next_probe(tried, limit_bytes=3 * GIB, n_train=10**6, margin=0.02)
    assert coming is not None
    assert coming.batch_size > 64


def test_the_line_leaves_out_sizes_that_the_runtime_s_own_buffers_hide() -> None:
    peaks = {1: 970, 8: 970, 64: 970, 256: 1156, 512: 1412, 1024: 1924}  # 900 MiB and one for each example
    line = line_through([Tried(size, fits=True, peak_bytes=peak * MIB) for size, peak in peaks.items()])
    assert line is not None
    assert line.bytes(2048) == pytest.approx((900 + 2048) * MIB, rel=1e-9)


def test_the_whole_training_set_is_tried_once() -> None:
    tried = [Tried(8, fits=True, peak_bytes=900 * MIB), Tried(100, fits=True, peak_bytes=910 * MIB)]
    assert next_probe(tried, limit_bytes=3 * GIB, n_train=100, margin=0.02) is None
    assert next_probe(tried[:1], limit_bytes=3 * GIB, n_train=8, margin=0.02) is None
    coming = next_probe(tried, limit_bytes=3 * GIB, n_train=1000, margin=0.02)
    assert coming is not None
    assert coming.batch_size > 100
