import math

import numpy as np
import pytest
from scipy import stats
from selection_helpers import MAX, timed

from tuning.stats.next_seed import Seen, knowledge_gradient, sizes_worth_another_seed

RATES = {8: 500.0, 32: 2000.0, 128: 6000.0}


def asked(examples, *, spread=0.02, seeds=2, rates=RATES, **options):
    trials = timed(examples, spread=spread, seeds=seeds, rates=rates)
    errors = dict.fromkeys(rates, options.pop("clock", 0.0))
    return sizes_worth_another_seed(
        trials, objective=MAX, target=0.9, throughput=rates, throughput_errors=errors, **options
    )


def seen(rows, variance, *, errors=1.0, shared=0.0):
    return Seen(rows, variance, np.full(len(rows), errors), np.full(len(rows), shared))


def test_the_gain_of_two_alternatives_is_that_of_the_closed_form():
    covariance, means = np.array([[0.04, 0.01], [0.01, 0.09]]), np.array([0.1, 0.0])
    difference = 0.04 + 0.09 - 2 * 0.01
    spread = difference / math.sqrt(difference + 2 * 0.025)
    expected = spread * stats.norm.pdf(0.1 / spread) - 0.1 * stats.norm.sf(0.1 / spread)
    assert knowledge_gradient(means, covariance, seen([0, 1], 0.025)) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("prior", [1e3, 1e-3], ids=["wide", "narrow"])
def test_what_runs_share_is_no_gain_by_the_joint_normal_of_two_alternatives(prior):
    noise, shared, runs = 0.04, 0.02, 4
    error = noise / runs
    # True means z of variance `prior` each, runs of them around z + d: brute force on (z, d, mean of runs, a run more).
    mixing = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [1, 1, 1, 0], [1, 1, 0, 1]], dtype=float)
    joint = mixing @ np.diag([prior, shared, error, noise]) @ mixing.T
    given = joint - np.outer(joint[:, 2], joint[:, 2]) / joint[2, 2]
    spread = math.sqrt(2 * given[0, 3] ** 2 / given[3, 3])
    found = knowledge_gradient(np.zeros(2), given[0, 0] * np.eye(2), seen([0, 1], noise, errors=error, shared=shared))
    assert found == pytest.approx(spread / math.sqrt(2 * math.pi), rel=0.1)


def test_a_seed_cannot_help_where_nothing_is_unknown():
    assert knowledge_gradient(np.array([0.0, -1.0]), np.zeros((2, 2)), seen([0, 1], 1.0)) == pytest.approx(0)
    covariance = 0.04 * np.ones((2, 2))  # only what both have in common
    assert knowledge_gradient(np.zeros(2), covariance, seen([0, 1], 1.0)) == pytest.approx(0, abs=1e-6)


def test_correlated_alternatives_tell_of_each_other():
    covariance = np.array([[0.04, 0.0, 0.0], [0.0, 0.04, 0.039], [0.0, 0.039, 0.04]])
    means, two = np.array([0.0, -0.3, 0.0]), seen([0, 1], 0.01)
    alone = knowledge_gradient(means, np.diag(np.diag(covariance)), two)
    assert knowledge_gradient(means, covariance, two) > 1.5 * alone


def test_a_clear_race_to_the_target_needs_no_more_seeds():
    assert asked({8: 1000, 32: 1000, 128: 9000}) == ()


def test_a_close_race_goes_on_between_the_leaders():
    assert asked({8: 8000, 32: 2000, 128: 6100}, spread=0.2) == (32, 128)


def test_more_seeds_are_asked_for_the_smaller_the_loss_that_is_accepted():
    race = {8: 8000, 32: 2000, 128: 6600}
    assert asked(race, spread=0.1, tolerance_loss=0.001) == (32, 128)
    assert asked(race, spread=0.1, tolerance_loss=0.2) == ()


def test_seeds_do_not_help_where_the_clock_is_what_is_not_known():
    race = {8: 80000, 32: 2000, 128: 6000}
    assert asked(race, spread=0.003, clock=0.1) == ()
    assert asked(race, spread=0.2, clock=0.01) == (32, 128)


def test_no_size_of_a_race_to_the_target_gets_more_seeds_than_the_most():
    assert asked({8: 8000, 32: 2000, 128: 6100}, spread=0.2, most_seeds=2) == ()


def test_after_one_seed_those_go_on_that_may_be_the_best_where_two_are_planned():
    race = {8: 8000, 32: 2000, 128: 6600}  # seconds of 16, 1 and 1.1
    assert asked(race, seeds=1, least_seeds=2) == (32, 128)
    assert asked(race, spread=0.02, seeds=2, least_seeds=2, tolerance_loss=0.2) == ()
    assert asked({8: 5000, 32: 2000, 128: 60000}, seeds=1, least_seeds=1, tolerance_loss=0.2) == ()


def test_after_one_seed_all_go_on_where_one_alone_may_be_the_best():
    assert asked({8: 8000, 32: 2000, 128: 90000}, seeds=1, least_seeds=2) == (8, 32, 128)
