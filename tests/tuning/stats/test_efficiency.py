import math

import numpy as np
import pytest
from selection_helpers import timed

from tuning.objective import Objective
from tuning.stats.arms import group_into_arms
from tuning.stats.comparison import compare
from tuning.stats.costs import EXAMPLES_TO_TARGET, SECONDS_TO_TARGET, Costs, arm_costs
from tuning.stats.efficiency import losses_of_rates, pool_times
from tuning.stats.misses import MissLoss
from tuning.stats.rate_profile import RateLoss
from tuning.trial import CONFIRM, SEARCH, Status, finished_trial

MAX = Objective("val_accuracy")
SIZES = tuple(8 * 2**i for i in range(7))
B = np.array(SIZES, dtype=float)
EXAMPLES = Costs(EXAMPLES_TO_TARGET, {}, {})


def pooled(table, costs=EXAMPLES, losses=None):
    scores = {size: dict(enumerate(row.tolist())) for size, row in zip(SIZES, table, strict=True)}
    return pool_times(scores, compare(scores), costs, losses)


def measured(random, critical, runs, sigma):
    """Measured -ln(examples) of the law, and the true ones."""
    truth = -np.log1p(B / critical)
    return truth[:, None] + random.normal(0, sigma, (len(SIZES), runs)), truth


def clock(log_rate, error=0.0):
    rates = dict(zip(SIZES, np.exp(log_rate).tolist(), strict=True))
    return Costs(SECONDS_TO_TARGET, {}, rates, rate_errors=dict.fromkeys(SIZES, error))


def excess(chosen, seconds):
    return seconds[chosen] / seconds.min() - 1


def test_pooled_times_pick_better_than_the_measured_minimum_where_the_law_holds():
    random = np.random.default_rng(0)
    differences = []
    for _ in range(12):
        table, truth = measured(random, math.exp(random.uniform(3, 7)), 3, random.choice([0.05, 0.1, 0.2]))
        log_rate = np.log(B / (B + math.exp(random.uniform(2, 6))))
        seconds = np.exp(-(truth + log_rate))
        plain = excess(int(np.argmax(table.mean(axis=1) + log_rate)), seconds)
        differences.append(plain - excess(int(np.argmax(pooled(table, clock(log_rate)).means)), seconds))
    assert np.mean(differences) > 0


def test_single_runs_keep_clear_differences():
    table, _ = measured(np.random.default_rng(1), 20.0, 1, 0.01)
    assert np.all(np.diff(pooled(table).means) < 0)


def test_one_lucky_run_among_consistent_neighbours_is_not_believed():
    table = -np.log1p(B / 200)[:, None] + np.where(B == 32, 0.5, 0.0)[:, None]
    found = pooled(table)
    assert found.mean(32) - (found.mean(16) + found.mean(64)) / 2 < 0.4


def test_the_luck_of_a_clock_that_may_err_is_not_believed():
    table, _ = measured(np.random.default_rng(2), 100.0, 3, 0.02)
    log_rate = np.log1p(B / 100) + np.where(B == 64, 0.15, 0.0)  # all take the same time, but for the luck of 64
    exact, erring = pooled(table, clock(log_rate)), pooled(table, clock(log_rate, 0.1))
    gain = [each.mean(64) - (each.mean(32) + each.mean(128)) / 2 for each in (exact, erring)]
    assert gain[1] < gain[0] - 0.03
    chances = [each.chance_of_loss(128, math.log(1.1)) for each in (exact, erring)]
    assert chances[1] < chances[0] - 0.2


def test_a_rate_that_costs_time_speaks_for_its_batch_size():
    table, _ = measured(np.random.default_rng(3), 100.0, 3, 0.02)
    without, owed = pooled(table), pooled(table, losses={16: RateLoss(0.3, 0.0)})
    assert owed.mean(16) - owed.mean(8) > without.mean(16) - without.mean(8) + 0.15


def test_clocks_err_as_their_repeats_show():
    arms = group_into_arms(timed({8: 1000, 32: 1200}, rates={8: 100.0, 32: 300.0}), objective=MAX, target=0.9)
    assert arm_costs(arms, objective=MAX, target=0.9, throughput=None).log_rate_error(8) == 0
    told = arm_costs(arms, objective=MAX, target=0.9, throughput={8: 100.0, 32: 300.0}, throughput_errors={8: 0.2})
    assert told.log_rate_error(8) == 0.2
    assert told.log_rate_error(32) == 0.05  # of which nothing is known
    rates = {(8, 0): 100.0, (8, 1): 110.0, (32, 0): 300.0, (32, 1): 330.0, (32, 2): 300.0}
    trials = [
        finished_trial(size, seed, 0.95, curve=((500, 0.5), (1000, 0.95)), examples_per_second=rate)
        for (size, seed), rate in rates.items()
    ]
    found = arm_costs(group_into_arms(trials, objective=MAX, target=0.9), objective=MAX, target=0.9, throughput=None)
    squares = math.log(1.1) ** 2 * (1 / 2 + 2 / 3)
    assert found.log_rate_error(32) == pytest.approx(math.sqrt(squares / 3 / 3))
    assert found.log_rate_error(8) == pytest.approx(math.sqrt(squares / 3 / 2))


def search_trial(rate, hit, *, stage=SEARCH, seed=0, status=Status.COMPLETED):
    """A training that reaches .9 at `hit` examples, or sees 4000 in vain."""
    curve = ((hit - 1, 0.0), (hit, 0.9)) if hit else ((2000, 0.3), (4000, 0.5))
    score = curve[-1][1] if status is Status.COMPLETED else None
    return finished_trial(32, seed, score, curve=curve, learning_rate=rate, stage=stage, status=status)


def test_the_trainings_that_sought_a_rate_tell_what_it_costs():
    even = [search_trial(0.01, 1000), search_trial(0.03, 3000), search_trial(0.0033, 3000)]
    skew = [search_trial(0.01, 1000), search_trial(0.03, None, status=Status.DIVERGED), search_trial(0.0033, 1050)]
    confirmed = [search_trial(0.01, 1000, stage=CONFIRM, seed=seed) for seed in (1, 2)]
    losses = [
        losses_of_rates(group_into_arms(trials + confirmed, objective=MAX, target=0.9), 0.9, MAX, 0.05)[32].mean
        for trials in (even, skew)
    ]
    assert losses[0] < 0.06
    assert losses[1] > 0.1


def test_a_single_rate_tells_nothing_of_others():
    arms = group_into_arms([search_trial(0.01, 1000), search_trial(0.01, 1100, seed=1)], objective=MAX, target=0.9)
    assert losses_of_rates(arms, 0.9, MAX, None) == {}


def test_what_misses_cost_a_size_is_not_explained_away_by_its_neighbours():
    table, _ = measured(np.random.default_rng(1), 60.0, 4, 0.05)
    loss = MissLoss(0.3, 0.09, 0.0)
    sure, missed = pooled(table), pooled(table, Costs(EXAMPLES_TO_TARGET, {}, {}, misses={32: loss}))
    fall = [before - after for before, after in zip(sure.means, missed.means, strict=True)]
    assert fall == pytest.approx([0, 0, 0.3, 0, 0, 0, 0])
    costs = sure.draws[:, 2] - missed.draws[:, 2]
    assert costs.min() > 0
    assert (costs.mean(), costs.std()) == (pytest.approx(0.3, rel=0.05), pytest.approx(0.3, rel=0.05))
    assert np.array_equal(sure.draws[:, 3], missed.draws[:, 3])
