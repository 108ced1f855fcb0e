"""The largest batch size that fits, on scripted workers with known memory."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fakes import ScriptedExecutor

from tuning.machine.memory import ENFORCED_MARGIN, MemoryFindings, margin_for, probe_memory
from tuning.machine.memory_ladder import Tried, line_through, next_probe
from tuning.messages import Event, MemoryProbe, MemoryProbeRequest
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


def test_the_first_update_must_fit_too() -> None:
    """cuDNN may take gigabytes once, to try its algorithms; the line is that of the updates after it."""

    def answer(request: MemoryProbeRequest) -> MemoryProbe:
        size = request.batch_size
        return MemoryProbe(request.trial_id, size, (800 + size) * MIB, 700 * MIB, (800 + 2 * size) * MIB)

    limit = MemoryLimit(2400 * MIB, "GPU")
    found = probe_memory(ScriptedExecutor(probes=answer), limit, n_train=10**6, margin=0.02)
    assert 800 * 0.95 <= found.largest_batch_size <= 800
    assert found.line is not None
    assert found.line.bytes_per_example == pytest.approx(MIB, rel=0.01)
    assert any("its first update takes" in probe.reason for probe in found.probes)


class Allocator:
    """The memory of a card under TensorFlow's allocator, as a probe meets it.

    Args:
        limit_bytes: What TensorFlow may take, as it tells.
        fragments: The share by which a worker's pool that has trained other sizes needs more.
        workspace_bytes: What the first update takes beside, as far as there is room.
        tenant_bytes: What another program takes from the third probe on.
    """

    def __init__(
        self, limit_bytes: int, *, fragments: float = 0.0, workspace_bytes: int = 0, tenant_bytes: int = 0
    ) -> None:
        self.limit_bytes, self._tenant_bytes = limit_bytes, tenant_bytes
        self._fragments, self._workspace_bytes = fragments, workspace_bytes
        self.executor = ScriptedExecutor(probes=self._answer, devices=("gpu:GPU-1",))
        self._fresh_since = 0

    def needs(self, batch_size: int) -> float:
        """Bytes that a training in a fresh worker needs."""
        return 500 * MIB + batch_size * 0.7 * MIB

    def has_room(self) -> float:
        """What there is by now."""
        return self.limit_bytes - (self._tenant_bytes if len(self.executor.probed) > 2 else 0)

    def _answer(self, request: MemoryProbeRequest) -> MemoryProbe | TrialOutcome:
        is_fresh = len(self.executor.renewed) > self._fresh_since or len(self.executor.probed) == 1
        self._fresh_since = len(self.executor.renewed)
        held = self.needs(request.batch_size) * (1 if is_fresh else 1 + self._fragments)
        if held > self.has_room():
            return TrialOutcome(request.trial_id, Status.OUT_OF_MEMORY, reason="OOM when allocating tensor")
        first = held + min(self._workspace_bytes, self.has_room() - held)
        return MemoryProbe(request.trial_id, request.batch_size, int(held), 400 * MIB, int(first))


@pytest.mark.parametrize(
    "card",
    [
        Allocator(20_000 * MIB, fragments=0.05),
        Allocator(20_000 * MIB, workspace_bytes=8000 * MIB),
        Allocator(20_000 * MIB, tenant_bytes=8000 * MIB),
    ],
    ids=["a pool in pieces", "cuDNN's first update", "a tenant that grows"],
)
def test_what_is_said_to_fit_on_a_card_fits(card: Allocator) -> None:
    limit = MemoryLimit(card.limit_bytes, "GPU")
    found = probe_memory(card.executor, limit, n_train=10**7, margin=0.0, loop="auto")
    largest = largest_true(card.needs, int(card.has_room()))
    assert len(found.probes) <= 7
    assert 0.95 * largest <= found.largest_batch_size <= largest


def test_on_a_card_a_little_more_than_the_line_promises_is_tried() -> None:
    """Kernels make do with smaller workspaces where memory is short."""

    def answer(request: MemoryProbeRequest) -> MemoryProbe | TrialOutcome:
        least = 500 * MIB + request.batch_size * 0.7 * MIB
        if least > 2000 * MIB:
            return TrialOutcome(request.trial_id, Status.OUT_OF_MEMORY, reason="OOM when allocating tensor")
        peak = min(2000 * MIB, 500 * MIB + request.batch_size * 0.75 * MIB)
        return MemoryProbe(request.trial_id, request.batch_size, int(peak), 400 * MIB)

    card = ScriptedExecutor(probes=answer, devices=("gpu:GPU-1",))
    found = probe_memory(card, MemoryLimit(2000 * MIB, "--memory-limit"), n_train=10**6, margin=ENFORCED_MARGIN)
    largest = int(1500 / 0.7)
    assert len(found.probes) <= 7
    assert 0.95 * largest <= found.largest_batch_size <= largest


def test_the_first_size_on_a_card_is_as_large_as_is_sure_to_fit() -> None:
    card = Allocator(20_000 * MIB)
    limit = MemoryLimit(card.limit_bytes, "GPU")
    found = probe_memory(card.executor, limit, n_train=10**7, margin=0.0, bytes_per_example=7 * MIB)
    assert found.probes[0].batch_size == 20_000 // (4 * 2 * 7)
    assert len(found.probes) <= 6
    assert 0.95 * 27_857 <= found.largest_batch_size <= 27_857


class Waiting(ScriptedExecutor):
    """Does not answer above 100 examples, and takes ten seconds of a clock of its own below."""

    def __init__(self, device: str) -> None:
        super().__init__(probes=lambda r: MemoryProbe(r.trial_id, r.batch_size, 800 * MIB, 0), devices=(device,))
        self.seconds = 0.0

    def events(self, timeout_s: float) -> list[Event]:
        self.seconds += 10.0
        return [] if self.probed and self.probed[-1].batch_size > 100 else super().events(timeout_s)

    def now(self) -> float:
        return self.seconds


@pytest.mark.parametrize(("device", "patience_s"), [("gpu:GPU-1", 60), ("cpu:0", 300)])
def test_a_size_that_waits_for_memory_does_not_fit(device: str, patience_s: int) -> None:
    waiting = Waiting(device)
    limit = MemoryLimit(3 * GIB, "GPU")
    found = probe_memory(waiting, limit, n_train=1000, margin=0.02, sizes=(50, 400), now=waiting.now)
    slow = found.probes[-1]
    assert (slow.batch_size, slow.fits, slow.status) == (400, False, Status.OUT_OF_MEMORY)
    assert f"did not end within {patience_s} s" in slow.reason
    assert found.largest_batch_size == 50


def test_small_sizes_that_peak_by_the_trying_of_convolutions_do_not_mislead() -> None:
    """The two smallest peaks are those measured on an H100, where they made the ladder leap to all 8,000 examples."""
    trying = {125: 538_199_552, 500: 484_567_296}

    def needs(size: int) -> float:
        return 280 * MIB + 0.62 * MIB * size

    def answer(request: MemoryProbeRequest) -> MemoryProbe | TrialOutcome:
        size = request.batch_size
        if needs(size) > 1536 * MIB:
            return TrialOutcome(request.trial_id, Status.OUT_OF_MEMORY, reason="OOM when allocating tensor")
        return MemoryProbe(request.trial_id, size, int(trying.get(size, needs(size))), 200 * MIB)

    card = ScriptedExecutor(probes=answer, devices=("gpu:GPU-1",))
    limit = MemoryLimit(1536 * MIB, "--memory-limit")
    found = probe_memory(card, limit, n_train=8000, margin=ENFORCED_MARGIN, bytes_per_example=936_444)
    assert [probe.batch_size for probe in found.probes[:3]] == [125, 500, 1202]
    assert max(probe.batch_size for probe in found.probes) < 2500
    assert len(found.probes) <= 8
    assert 0.95 * 2025 <= found.largest_batch_size <= 2025
