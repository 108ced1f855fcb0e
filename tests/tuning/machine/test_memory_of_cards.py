"""The largest batch size that fits on a card, on scripted workers with TensorFlow's allocator."""

from __future__ import annotations

import pytest
from fakes import ScriptedExecutor

from tuning.machine.memory import ENFORCED_MARGIN, probe_memory
from tuning.messages import Event, MemoryProbe, MemoryProbeRequest
from tuning.run.memory_limit import MemoryLimit
from tuning.trial import Status, TrialOutcome

MIB, GIB = 2**20, 2**30


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
    largest = int((card.has_room() - 500 * MIB) / (0.7 * MIB))
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
