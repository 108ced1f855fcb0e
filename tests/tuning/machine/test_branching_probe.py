"""Branches as a probe asks for them, on scripted workers."""

from __future__ import annotations

from typing import Any

import pytest
from fakes import ScriptedExecutor, description, device
from probe_example import LIMIT, worker

from tuning.machine.branching import Branching, probe_branching, sizes_to_branch
from tuning.noise_messages import Branch, Branches, BranchRequest
from tuning.search.probing import run_probe
from tuning.show.probe_page import Probe
from tuning.stats.branching import BranchedSize
from tuning.trial import Status, TrialOutcome

FRACTIONS = (0.125, 0.25, 0.5, 0.75, 1.0)


def branching_worker(request: Any) -> Any:
    """Losses of a model whose critical batch size is 200."""
    if not isinstance(request, BranchRequest):
        return worker(request)
    found = []
    for size in request.batch_sizes:
        slower = (1 + size / 200) / (1 + request.batch_sizes[0] / 200)
        examples = tuple(round(fraction * request.examples) for fraction in FRACTIONS)
        losses = tuple(1 / (1 + each / request.examples / slower) for each in examples)
        found += [Branch(size, repeat, examples, losses) for repeat in range(request.repeats)]
    return Branches(request.trial_id, request.updates * request.batch_sizes[0], 1.0, tuple(found))


def probed(
    probes: Any = branching_worker, n_train: int = 50_000, **described: Any
) -> tuple[Probe, list[BranchRequest]]:
    executor = ScriptedExecutor(devices=[device(memory=LIMIT)], probes=probes, described=description(**described))
    probe = run_probe(executor, workload="made-up", n_train=n_train, epochs=2, branches=True)
    return probe, [request for request in executor.probed if isinstance(request, BranchRequest)]


def test_branches_begin_in_the_middle_at_rates_that_follow_the_batch_size() -> None:
    probe, (request,) = probed()
    assert request.batch_sizes == (32, 64, 128, 256, 512, 1024)  # up to what fits
    assert request.learning_rates[::2] == pytest.approx((0.001, 0.002, 0.004))
    assert (request.updates, request.examples, request.repeats) == (50_000 // 32, 50_000, 4)
    assert probe.branching is not None
    assert probe.branching.found.value == pytest.approx(200, rel=0.15)
    assert probe.branching.at_examples == 50_000 // 32 * 32


def test_what_branches_show_is_told_recorded_and_says_where_to_search() -> None:
    probe, _ = probed()
    told = probe.to_json()["branches"]
    assert told["critical_batch_size"] == pytest.approx(200, rel=0.15)
    assert [each["batch_size"] for each in told["losses"]] == [32, 64, 128, 256, 512, 1024]
    (line,) = [line for line in probe._headlines() if "branching" in line]
    assert line.startswith("Critical batch size by branching after 49,984 examples: about ")
    assert probe.measurement.values["branched_critical_batch_size"] == told["critical_batch_size"]
    assert ("branch_loss", 0.5, 32) in probe.measurement.series
    larger = Probe(**{**vars(probe), "branching": Branching(BranchedSize(5000.0))})
    assert min(larger.suggested_batch_sizes) > min(probe.suggested_batch_sizes)
    assert "interval" not in larger._headlines()[-2]


def test_without_being_asked_for_nothing_is_branched() -> None:
    executor = ScriptedExecutor(devices=[device(memory=LIMIT)], probes=worker, described=description())
    probe = run_probe(executor, workload="made-up", n_train=50_000, epochs=2)
    assert probe.branching is None
    assert probe.to_json()["branches"] is None


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"schedule": "CosineDecay"}, "the model has a schedule of learning rates"),
        ({"learning_rate": None}, "the model has a schedule of learning rates"),
        ({"n_train": 600}, "600 examples allow for no more than 2 batch sizes from 32 on"),
    ],
)
def test_where_no_branch_can_tell_it_nothing_is_trained(changed: dict[str, Any], why: str) -> None:
    probe, requests = probed(**changed)
    assert requests == []
    assert probe.branching is not None
    assert probe.branching.headline == f"Critical batch size by branching: not told, because {why}."
    assert probe.suggested_batch_sizes


def test_a_failure_is_kept_with_its_reason() -> None:
    executor = ScriptedExecutor(probes=lambda r: TrialOutcome(r.trial_id, Status.FAILED, reason="own train_step."))
    found = probe_branching(executor, rates={32: 0.1, 64: 0.2, 128: 0.4}, examples=2000)
    assert found == Branching(BranchedSize(reason="own train_step"))


def test_sizes_leave_eight_updates_in_a_branch() -> None:
    assert sizes_to_branch(32, 4096, 2048) == (32, 64, 128, 256)
    assert sizes_to_branch(32, 64, 10**6) == (32, 64)
    assert sizes_to_branch(32, 4096, 10) == (32,)
