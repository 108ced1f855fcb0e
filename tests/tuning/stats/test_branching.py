"""B_crit from branches whose law is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tuning.stats.branching import BranchedSize, branched_size

START, FRACTIONS = 1.0, (0.125, 0.25, 0.5, 0.75, 1.0)
SIZES = (32, 64, 128, 256, 512)


def made(critical: float, *, noise: float = 0.0, repeats: int = 3, seed: int = 0, total: int = 4096) -> BranchedSize:
    """Losses fall as 1/(1 + e) in the examples that a batch of 32 would need for the same, in units of 4096."""
    random = np.random.default_rng(seed)
    curves = {}
    for size in SIZES:
        slower = (1 + size / critical) / (1 + SIZES[0] / critical)
        examples = [int(fraction * total) for fraction in FRACTIONS]
        losses = START / (1 + np.array(examples) / 4096 / slower)
        curves[size] = [(examples, (losses * np.exp(noise * random.normal(size=5))).tolist()) for _ in range(repeats)]
    return branched_size(START, curves)


@pytest.mark.parametrize("critical", [30.0, 200.0, 1000.0])
def test_the_critical_size_is_that_of_the_law(critical: float) -> None:
    found = made(critical)
    assert found.value == pytest.approx(critical, rel=0.01)  # straight lines would be off by 3 % and more
    assert found.low is not None
    assert found.high is not None
    assert found.low == pytest.approx(found.high, rel=1e-3)  # repeats that agree


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    for noise in (0.003, 0.01):
        found = [made(200.0, noise=noise, repeats=4, seed=seed) for seed in range(60)]
        assert 0.8 <= np.mean([each.low < 200.0 < each.high for each in found if each.low and each.high]) <= 0.99
        assert np.median([abs(math.log((each.value or 1) / 200.0)) for each in found]) < 0.4


def test_a_size_whose_loss_rises_is_left_out_and_too_few_tell_nothing() -> None:
    curves = {
        32: [([100, 200], [0.9, 0.8])] * 2,
        64: [([200], [0.85])] * 2,
        128: [([200], [0.9])] * 2,
        256: [([200], [3.0])] * 2,
    }
    found = branched_size(1.0, curves)
    assert found == branched_size(1.0, {size: each for size, each in curves.items() if size < 256})
    assert found.value is not None
    curves[128] = [([200], [1.5])] * 2
    assert branched_size(1.0, curves) == BranchedSize(reason="the loss fell at 2 batch sizes alone")


def test_what_cannot_be_told_has_its_reason() -> None:
    flat = {size: [([200], [1.1])] * 2 for size in (32, 64, 128)}
    assert branched_size(1.0, flat).reason == "the loss did not fall at batch size 32 after the branching"
    assert "got 2 batch sizes and 2 repeats" in branched_size(1.0, {32: flat[32], 64: flat[64]}).reason
    assert "got 3 batch sizes and 1 repeats" in branched_size(1.0, {size: flat[size][:1] for size in flat}).reason
