import math

import pytest
from selection_helpers import MAX, RATES, study, timed, trial

from tuning.stats.arms import group_into_arms
from tuning.stats.costs import arm_costs


def costs_of(results, *, target=None, throughput=None, objective=MAX):
    arms = group_into_arms(results, objective=objective, target=target)
    return arm_costs(arms, objective=objective, target=target, throughput=throughput)


def test_seconds_to_target_are_examples_over_throughput():
    costs = costs_of(timed({8: 1000, 32: 3000}, rates=RATES), target=0.9)
    mean = math.exp(sum(math.log(round(1000 * f)) for f in (0.98, 1.0, 1.02)) / 3)
    assert costs.kind == "seconds to the target"
    assert costs.examples_to_target(8) == pytest.approx(mean, abs=1)
    assert costs.by_batch_size[8] == costs.seconds_to_target(8) == pytest.approx(mean / 500, rel=1e-3)


def test_where_throughput_was_measured_no_trial_s_own_stands_beside_it():
    costs = costs_of(timed({8: 1000, 32: 3000}, rates=RATES), target=0.9, throughput={8: 250.0, 999: 1.0})
    assert costs.examples_per_second == {8: 250.0}


def test_examples_to_target_without_throughput():
    costs = costs_of(timed({8: 1000, 32: 3000}), target=0.9)
    assert costs.kind == "examples to the target"
    assert costs.log_rate(8) == 0
    assert costs.seconds_to_target(8) is None


def test_one_of_three_seeds_that_missed_by_far_means_not_reached():
    results = timed({8: 1000, 32: 3000}, rates=RATES)[:-1]
    results.append(trial(32, 2, 0.5, examples_seen=(100_000,), objective_curve=(0.5,)))
    costs = costs_of(results, target=0.9)
    assert costs.reached(8)
    assert (costs.reached(32), costs.missed(32)) == (False, 1)
    assert costs.examples_to_target(32) is None
    assert list(costs.by_batch_size) == [8]


def test_a_training_that_was_cut_short_costs_little_and_one_that_ended_by_itself_rules_the_size_out():
    results = timed({8: 1000, 32: 3000}, rates=RATES)[:-1]
    cut = costs_of([*results, trial(32, 2, 0.5, examples_seen=(100,), objective_curve=(0.5,))], target=0.9)
    assert cut.reached(32)
    assert 2900 < cut.examples_to_target(32) < 3300
    assert cut.by_batch_size[32] == pytest.approx(cut.examples_to_target(32) / 2000)
    ended = trial(32, 2, 0.5, examples_seen=(100,), objective_curve=(0.5,), epochs=9)
    assert not costs_of([*results, ended], target=0.9).reached(32)


def test_final_score_without_a_curve_tells_whether_but_not_when():
    costs = costs_of(study({8: 0.95, 32: 0.8}, rates=RATES), target=0.9)
    assert costs.reached(8)
    assert not costs.reached(32)
    assert costs.examples_to_target(8) is None
    assert costs.kind == "seconds per example"


def test_without_curves_a_size_of_which_one_seed_missed_does_not_reach_the_target():
    results = study({8: 0.95, 32: 0.95}, rates=RATES)
    results[-1] = trial(32, 2, 0.5)
    assert not costs_of(results, target=0.9).reached(32)


def test_seconds_of_training_use_the_largest_budget():
    results = study({8: 0.9, 32: 0.9}, rates=RATES, examples_seen=(500, 1000), objective_curve=(0.1, 0.9))
    costs = costs_of(results)
    assert costs.kind == "seconds of training"
    assert costs.by_batch_size == {8: 2.0, 32: 0.5}


def test_measured_seconds_where_no_throughput_is_known():
    results = [trial(8, s, 0.9, seconds=t) for s, t in enumerate((9.0, 10.0, 50.0))] + [trial(16, 0, 0.9, seconds=4.0)]
    assert costs_of(results).by_batch_size == {8: 10.0, 16: 4.0}


def test_nothing_known_costs_nothing():
    costs = costs_of(study({8: 0.9, 32: 0.9}))
    assert costs.kind is None
    assert costs.by_batch_size == {}


def test_throughput_of_the_trials_is_their_median():
    results = [trial(8, seed, 0.9, examples_per_second=rate) for seed, rate in enumerate((100.0, 110.0, 900.0))]
    assert costs_of(results).examples_per_second == {8: 110.0}
