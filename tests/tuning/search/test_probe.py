"""The whole probe, from scripted measurements to JSON and table."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from fakes import ScriptedExecutor, device
from probe_example import LIMIT, MIB, run, worker
from rich.console import Console

from tuning.messages import (
    Event,
    MemoryProbeRequest,
    Throughput,
    ThroughputRequest,
)
from tuning.search.probing import ProbeError, run_probe
from tuning.show.probe_page import Probe
from tuning.trial import Status, TrialOutcome


def test_the_json_has_everything_and_survives_a_round_trip() -> None:
    found = run()
    told = json.loads(json.dumps(found.to_json()))
    memory = told["memory"]
    truth = (3 * 1024 - 700) // 2
    assert 0.95 * truth <= memory["largest_batch_size"] <= truth
    assert memory["verified"] is True
    assert memory["limited_by"] == "memory"
    assert memory["bytes_per_example"] == pytest.approx(2 * MIB, rel=1e-6)
    assert {"batch_size", "loop", "seconds_per_step", "examples_per_second"} <= told["throughput"][0].keys()
    assert told["knee"]["keras"] in {row["batch_size"] for row in told["throughput"]}
    assert told["noise_scale"]["value"] == 100.0
    assert told["suggested_batch_sizes"] == [16, 32, 64, 128, 256, 512]  # around sqrt(100 * 100), as `tune` searches
    assert max(row["batch_size"] for row in told["throughput"]) <= memory["largest_batch_size"]


def shown(found: Probe) -> str:
    told = io.StringIO()
    found.show(Console(file=told, width=80))
    return told.getvalue()


def test_the_table_fits_80_columns_and_says_what_matters() -> None:
    told = shown(run())
    assert all(len(line) <= 80 for line in told.splitlines())
    for part in (
        "Largest batch size that fits",
        "2.0 MiB per example",
        "noise scale",
        "A search should look at 16, 32",
    ):
        assert part in told


def test_nothing_fits_ends_early() -> None:
    def full(request: Any) -> Event:
        assert isinstance(request, MemoryProbeRequest)
        return TrialOutcome(request.trial_id, Status.OUT_OF_MEMORY, reason="too large", exit_code=86)

    found = run(full)
    assert not found.memory.verified
    assert found.to_json()["suggested_batch_sizes"] == []
    assert "No batch size fits" in shown(found)


def test_caveats_name_batch_normalization_and_what_is_no_line() -> None:
    def bent(request: Any) -> Event:
        if isinstance(request, ThroughputRequest):
            seconds = 1e-3 if request.batch_size < 100 else 1e-1
            return Throughput(request.trial_id, request.batch_size, "keras", seconds, seconds)
        return worker(request)

    found = run(bent, has_batch_normalization=True)
    told = " ".join(found.caveats)
    assert "BatchNormalization" in told
    assert "follow no line" in told
    assert "bound by its input pipeline at batch size 8 (8,000 examples/s of the pipeline alone), " in told


def test_a_model_that_cannot_be_built_is_bad_input() -> None:
    executor = ScriptedExecutor(described=TrialOutcome("describe", Status.FAILED, reason="The build function must ..."))
    with pytest.raises(ProbeError, match="build function must"):
        run_probe(executor, workload="made-up", n_train=100, epochs=1)


@pytest.mark.parametrize("killed", range(16))
def test_killing_the_worker_at_any_request_changes_nothing(killed: int) -> None:
    asked = []

    def disturbed(request: Any) -> Event:
        asked.append(request)
        if len(asked) == killed + 1:
            return TrialOutcome(request.trial_id, Status.OUT_OF_MEMORY, reason="died of SIGKILL", exit_code=-9)
        return worker(request)

    assert run(disturbed).to_json() == run().to_json()
    assert len(asked) > killed + 1


def test_nothing_is_timed_in_a_worker_whose_memory_is_at_the_limit() -> None:
    renewed: list[int] = []

    def watched(request: Any) -> Event:
        if isinstance(request, MemoryProbeRequest | ThroughputRequest):
            renewed.append(len(executor.renewed))
        return worker(request)

    executor = ScriptedExecutor(devices=[device(memory=LIMIT)], probes=watched)
    found = run_probe(executor, workload="made-up", n_train=50_000, epochs=2)
    n_memory = len(found.memory.probes)
    assert renewed[n_memory] == renewed[n_memory - 1] + 1
    assert set(renewed[n_memory:]) == {renewed[n_memory]}
