import math

import numpy as np
import pytest
from scipy.special import ndtr

from tuning.stats.misses import losses_of_misses
from tuning.stats.reaches import LEAST_SIGMA
from tuning.stats.target import Crossing


def crossings(hits, missed=()):
    """Crossings by seed: those that reached the target at these examples, then those that saw so many without it."""
    seen = [Crossing(True, each, 0.0, each) for each in hits] + [Crossing(False, each, each, None) for each in missed]
    return dict(enumerate(seen))


OTHERS = {8: crossings([1000, 1100, 950, 1020, 990]), 16: crossings([2100, 2050, 1900, 2080, 2010])}


def test_without_a_miss_nothing_is_lost():
    assert losses_of_misses(OTHERS) == {}
    assert losses_of_misses({32: crossings([], [5000.0])}) == {}


def test_the_loss_is_the_mean_over_the_mean_and_the_share_of_stuck_trainings():
    # Two sizes that share no seed: nothing tells the effects of seeds, and sigma is that of repeats.
    seen = {8: {s + 9: each for s, each in OTHERS[8].items()}, 32: crossings([1000, 1040, 960], [1060])}
    loss = losses_of_misses(seen)[32]
    logs = {size: np.log([c.examples for c in by_seed.values() if c.reached]) for size, by_seed in seen.items()}
    squares = sum(float(np.sum((each - each.mean()) ** 2)) for each in logs.values())
    mean, sigma, bound = float(logs[32].mean()), math.sqrt(squares / 6), math.log(1060)
    assert sigma > LEAST_SIGMA

    random = np.random.default_rng(0)
    means, shares = random.normal(mean, sigma / math.sqrt(3), 400_000), random.beta(0.5, 5, 400_000)
    weights = shares + (1 - shares) * ndtr((means - bound) / (sigma * math.sqrt(2)))
    costs = np.log(np.exp(means) + shares / (1 - shares) * 1060) - mean
    expected = np.average(costs, weights=weights)
    spread = np.average((costs - expected) ** 2, weights=weights)
    assert loss.mean == pytest.approx(expected, rel=0.01)
    assert loss.variance == pytest.approx(spread - sigma**2 / 3, rel=0.03)
    assert loss.doubt == pytest.approx(np.average(shares > 0.5, weights=weights), rel=0.03)


def test_a_late_training_costs_little_and_a_stuck_one_of_three_is_not_tolerated():
    late = losses_of_misses({**OTHERS, 32: crossings([4000, 4400], [3800])})[32]
    stuck = losses_of_misses({**OTHERS, 32: crossings([4000, 4400], [8000])})[32]
    assert late.is_tolerable
    assert not stuck.is_tolerable
    assert 0 < late.mean < stuck.mean


def test_a_stuck_one_of_five_is_tolerated_at_the_cost_of_starting_again():
    loss = losses_of_misses({**OTHERS, 32: crossings([4000, 4100, 3950, 4020], [8000])})[32]
    assert loss.is_tolerable
    assert math.log(1 + 2 / 5) < loss.mean < math.log(1 + 2)
    assert loss.variance > 0.05
    dear = losses_of_misses({**OTHERS, 32: crossings([4000, 4100, 3950, 4020], [40_000])})[32]
    assert dear.mean > loss.mean + 0.5


def test_a_training_that_ended_by_itself_was_not_late():
    seen = {**OTHERS, 32: crossings([4000, 4100], [2000])}
    assert losses_of_misses(seen)[32].is_tolerable
    assert not losses_of_misses(seen, {32: {2}})[32].is_tolerable


def test_fewer_than_half_of_the_seeds_say_nothing_of_the_cost():
    assert 32 not in losses_of_misses({**OTHERS, 32: crossings([4000], [3900, 3950])})
    assert 32 in losses_of_misses({**OTHERS, 32: crossings([4000, 4010], [3900, 3950])})


def test_unknown_times_say_nothing_of_the_cost():
    unknown = {s: Crossing(c.reached, math.nan, math.nan, None) for s, c in crossings([1, 2], [3]).items()}
    assert losses_of_misses({**OTHERS, 32: unknown}) == {}


def test_a_miss_on_a_seed_that_is_hard_for_all_is_more_likely_late():
    hard = {8: crossings([1000, 1010, 1250]), 16: crossings([2000, 2020, 2500]), 32: crossings([4000, 4040], [4500])}
    easy = {8: crossings([1000, 1010, 1005]), 16: crossings([2000, 2020, 2010]), 32: crossings([4000, 4040], [4500])}
    assert losses_of_misses(hard)[32].doubt < losses_of_misses(easy)[32].doubt
    assert losses_of_misses(hard)[32].mean < losses_of_misses(easy)[32].mean
