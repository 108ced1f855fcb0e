"""The whole probe of inference on a scripted worker."""

from __future__ import annotations

import pytest
from fakes import ScriptedExecutor, device

from tuning.messages import Event, Inference, InferenceRequest
from tuning.search.probing import ProbeError, run_inference_probe
from tuning.trial import Status, TrialOutcome


def worker(request: InferenceRequest) -> Event:
    assert isinstance(request, InferenceRequest)  # nothing else is measured
    seconds = 1e-3 * request.batch_size
    return Inference(request.trial_id, request.batch_size, 100, 100 * seconds, seconds, seconds, 2**30)


def test_nothing_but_inference_is_measured_in_a_worker_that_has_not_trained() -> None:
    executor, told = ScriptedExecutor(devices=[device()], probes=worker), list[str]()
    found = run_inference_probe(executor, workload="made-up", n_examples=100, latency_s=0.02, tell=told.append)
    assert executor.renewed == ["cpu:0"]
    assert [trial_id for trial_id, _ in executor.submitted] == ["describe", *(f"inference-{2**i}" for i in range(7))]
    assert (found.workload, found.device) == ("made-up", "cpu:0")
    assert found.findings.best is not None
    assert found.findings.best.batch_size == 16
    assert len(told) == 7


def test_a_model_that_cannot_be_built_is_bad_input() -> None:
    executor = ScriptedExecutor(described=TrialOutcome("describe", Status.FAILED, reason="The build function must ..."))
    with pytest.raises(ProbeError, match="build function must"):
        run_inference_probe(executor, workload="made-up", n_examples=100)
