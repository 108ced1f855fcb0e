"""The noise scale of a workload, on scripted workers."""

from __future__ import annotations

import math

import pytest
from fakes import ScriptedExecutor

from tuning.machine.noise import GradientNoise, probe_noise
from tuning.noise_messages import NoiseScalePoint, NoiseScaleRequest, NoiseScales
from tuning.trial import Status, TrialOutcome


def point(at_examples: int, value: float | None) -> NoiseScalePoint:
    if value is None:
        return NoiseScalePoint(at_examples, None, 900.0, None, 5.0, -0.1)
    return NoiseScalePoint(at_examples, value, value / 2, value * 2, 5.0, 5.0 / value)


def test_the_mean_weighs_stretches_by_their_length() -> None:
    found = GradientNoise((point(0, 10.0), point(100, 10.0), point(400, 1000.0)))
    # logs: a quarter of the way at 10, three quarters at the geometric mean of 10 and 1000
    assert found.mean == pytest.approx(10 ** (0.25 * 1 + 0.75 * 2))
    assert GradientNoise((point(0, 10.0),)).mean == pytest.approx(10.0)


def test_what_cannot_be_told_is_null_and_not_averaged() -> None:
    found = GradientNoise((point(0, 10.0), point(100, None)))
    assert found.mean is None
    assert found.to_json()["value"] == 10.0
    assert found.to_json()["at_examples"] == 0
    assert found.to_json()["points"][1] == {"at_examples": 100, "value": None, "low": 900.0, "high": None}
    assert GradientNoise(reason="own train_step").to_json()["value"] is None


def requested(**arguments: object) -> NoiseScaleRequest:
    executor = ScriptedExecutor(probes=lambda request: NoiseScales(request.trial_id, (point(0, 10.0),)))
    probe_noise(executor, **{"batch_size": 32, "updates": 125.0, **arguments})
    (request,) = executor.probed
    assert isinstance(request, NoiseScaleRequest)
    return request


def test_it_follows_the_training_to_be_searched_but_no_longer_than_its_time() -> None:
    assert (requested().batch_size, requested().updates) == (32, 125)
    assert requested(seconds_per_update=0.001).updates == 125
    assert requested(seconds_per_update=1.0).updates == 20
    assert requested(updates=0.3).updates == 1
    assert (requested(learning_rate=0.1).learning_rate, requested(seed=7).seed) == (0.1, 7)


def test_a_measurement_takes_fewer_examples_where_they_would_take_too_long_but_not_too_few() -> None:
    assert requested().examples == 4096
    assert requested(seconds_per_update=0.01).examples == 4096  # 5 s for each of four, of 3,200 examples a second
    assert requested(seconds_per_update=0.1).examples == 1600
    assert requested(seconds_per_update=1.0).examples == 1024
    assert requested(seconds_per_update=0.05, patience_s=10.0).examples == 1600
    assert requested(seconds_per_update=0.5, patience_s=10.0).updates == 20


def test_a_refusal_is_kept_with_its_reason() -> None:
    executor = ScriptedExecutor(probes=lambda r: TrialOutcome(r.trial_id, Status.FAILED, reason="own train_step"))
    assert probe_noise(executor, batch_size=8, updates=1) == GradientNoise(reason="own train_step")


def test_the_noise_scale_of_a_training_is_its_mean_else_its_last_value() -> None:
    first, last = point(1, 100.0), point(4, 400.0)
    mean = GradientNoise((first, last)).value
    assert mean is not None
    assert 100.0 < mean < 400.0
    assert GradientNoise((first, point(2, None), last)).value == 400.0
    assert GradientNoise((point(2, None),)).value is None
    assert GradientNoise((point(2, None), first)).at_least == 900.0


def test_its_course_is_shown_as_a_measurement() -> None:
    found = GradientNoise((point(0, 10.0), point(100, None))).measurement
    assert found.name == "noise"
    assert found.series == (
        ("noise_scale", 10.0, 0),
        ("noise_scale_low", 5.0, 0),
        ("noise_scale_high", 20.0, 0),
        ("gradient_norm", math.sqrt(0.5), 0),
        ("gradient_noise", math.sqrt(5.0), 0),
        ("noise_scale_low", 900.0, 100),
        ("gradient_noise", math.sqrt(5.0), 100),  # the squared norm was estimated as negative
    )
