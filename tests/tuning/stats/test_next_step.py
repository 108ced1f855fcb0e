"""What a recommendation proposes to train next, from closed cases."""

from __future__ import annotations

import re

import numpy as np
import pytest
from selection_helpers import MAX, RATES, study, trial

from tuning.stats.next_step import NextStep
from tuning.stats.recommendation import recommend


def step(trials):
    return recommend(trials, objective=MAX).next_step


def test_without_repeats_the_next_step_is_three_seeds():
    assert step(study({8: 0.91, 32: 0.93, 128: 0.92}, noise=(0.0,))) == NextStep("noise", seeds=3)


def test_beyond_the_largest_batch_size_lie_two_more_in_the_same_ratio():
    assert step(study({8: 0.90, 32: 0.93, 128: 0.96}, rates=RATES)) == NextStep("larger sizes", (512, 2048))


def test_no_batch_size_is_larger_than_the_training_set():
    trials = [
        trial(
            size, seed, score + 0.001 * (seed + size % 3 % 2), examples_seen=(1000, 2000), objective_curve=(0.1, score)
        )
        for size, score in ((32, 0.90), (128, 0.93), (512, 0.96))
        for seed in range(3)
    ]
    assert step(trials) == NextStep("larger sizes", (1000,))


def test_below_the_smallest_batch_size_there_is_nothing_below_one():
    assert step(study({4: 0.98, 32: 0.93, 128: 0.90})) == NextStep("smaller sizes", (1,))


def test_a_learning_rate_at_an_end_asks_for_further_ones_at_the_batch_sizes_that_have_it_there():
    trials = [
        each
        for rate, gain in ((0.001, 0.0), (0.01, 0.02), (0.1, 0.04))
        for each in study({8: 0.90 + gain, 32: 0.93 + gain, 128: 0.91 - gain}, learning_rate=rate)
    ]
    assert step(trials) == NextStep("learning rate", (8, 32), (1.0, 10.0))


def test_a_tie_asks_for_the_seeds_that_would_begin_to_separate_it():
    found = recommend(study({8: 0.90, 32: 0.952, 128: 0.95, 512: 0.90}, rates=RATES), objective=MAX)
    assert found.next_step is not None
    assert found.next_step.batch_sizes == (32, 128)
    assert f"about {found.next_step.seeds} would begin to separate" in " ".join(found.reasons)


def test_what_is_settled_asks_for_nothing():
    assert step(study({8: 0.90, 32: 0.95, 128: 0.80}, rates=RATES)) is None
    assert step(study({32: 0.93})) is None


@pytest.mark.parametrize("seeds", [None, 5])
def test_a_tie_that_no_number_of_seeds_would_settle_asks_for_none(seeds):
    noise = (0.02, -0.01, -0.01)
    trials = study({8: 0.80, 32: 0.9501, 128: 0.95, 512: 0.80}, noise=noise, rates=RATES)
    assert recommend(trials, objective=MAX, planned_seeds=seeds).next_step is None


def test_more_seeds_are_asked_for_than_have_not_told_a_tie_apart():
    draw, asked = np.random.default_rng(0), []
    for _ in range(30):  # noise that rises with the batch size
        scores = {size: 0.95 - 0.002 * place + draw.normal(0, 0.001 * 4**place, 3) for place, size in enumerate(RATES)}
        trials = [trial(size, seed, value) for size, row in scores.items() for seed, value in enumerate(row)]
        found = recommend(trials, objective=MAX)
        asked += re.findall(r"with 3 seeds; about (\d+) would begin", " ".join(found.reasons))
    assert asked
    assert min(map(int, asked)) > 3
