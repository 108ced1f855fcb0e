"""A probe on scripted measurements, shared by the tests of what it finds and of how it is shown."""

from __future__ import annotations

from typing import Any

from fakes import ScriptedExecutor, description, device

from tuning.messages import Event, MemoryProbe, MemoryProbeRequest, Throughput, ThroughputRequest
from tuning.noise_messages import NoiseScalePoint, NoiseScaleRequest, NoiseScales
from tuning.run.memory_limit import MemoryLimit
from tuning.search.probing import run_probe
from tuning.show.probe_page import Probe
from tuning.trial import Status, TrialOutcome

MIB = 2**20
LIMIT = MemoryLimit(3 * 2**30, "--memory-limit")


def worker(request: Any) -> Event:
    """2 MiB per example above 700 MiB; t(B) = 1 ms + 10 us * B; a noise scale of 100."""
    if isinstance(request, MemoryProbeRequest):
        peak = (700 + 2 * request.batch_size) * MIB
        if peak > LIMIT.bytes:
            return TrialOutcome(request.trial_id, Status.OUT_OF_MEMORY, reason="too large", exit_code=86)
        return MemoryProbe(request.trial_id, request.batch_size, peak, 600 * MIB)
    if isinstance(request, ThroughputRequest):
        loop = "device" if request.loop == "auto" else request.loop
        return Throughput(request.trial_id, request.batch_size, loop, 1e-3 + 1e-5 * request.batch_size)
    assert isinstance(request, NoiseScaleRequest)
    return NoiseScales(request.trial_id, (NoiseScalePoint(0, 100.0, 80.0, 125.0, 5.0, 0.05),))


def run(probes: Any = worker, n_train: int = 50_000, **described: Any) -> Probe:
    executor = ScriptedExecutor(devices=[device(memory=LIMIT)], probes=probes, described=description(**described))
    return run_probe(executor, workload="made-up", n_train=n_train, epochs=2)
