import math

import numpy as np
import pytest
from selection_helpers import MAX, RATES, study, timed, trial

from tuning.stats import decision
from tuning.stats.arms import group_into_arms
from tuning.stats.costs import arm_costs
from tuning.stats.decision import decide, unconfirmed
from tuning.stats.pooling import Pooled
from tuning.trial import Status


def decided(results, *, rule="fastest", tolerance=None, target=None, throughput=None):
    arms = group_into_arms(results, objective=MAX, target=target)
    costs = arm_costs(arms, objective=MAX, target=target, throughput=throughput)
    return decide(arms, costs, objective=MAX, rule=rule, tolerance=tolerance, target=target)


def test_target_makes_the_shortest_time_decide():
    found = decided(timed({8: 10_000, 32: 12_000, 128: 60_000}, rates=RATES), target=0.9)
    assert found.chosen == 32
    assert found.times is not None
    assert found.judged.best == 32
    assert found.chance_of_loss < 0.05
    assert 0 <= found.expected_loss < 0.01


def test_quality_with_a_target_takes_the_best_final_score_that_reached_it():
    results = timed({8: 10_000, 32: 12_000}, rates=RATES)
    results += [trial(128, s, 0.99, examples_seen=(100,), objective_curve=(0.5,)) for s in range(3)]
    assert decided(results, rule="quality", target=0.9).quality.batch_sizes == (8, 32)


def test_a_tolerance_beside_a_target_rules_out_low_final_scores():
    slow_but_good = [
        trial(8, s, 0.99 + 0.001 * (s % 2), examples_seen=(90_000,), objective_curve=(0.95,)) for s in range(3)
    ]
    fast_but_low = [
        trial(32, s, 0.91 + 0.001 * (s == 1), examples_seen=(10_000,), objective_curve=(0.9,)) for s in range(3)
    ]
    results = slow_but_good + fast_but_low
    assert decided(results, target=0.9).chosen == 32
    assert decided(results, target=0.9, tolerance=0.01).chosen == 8


def test_sizes_that_missed_the_target_are_not_picked():
    found = decided(timed({8: 10_000, 32: None}, rates=RATES), target=0.9)
    assert found.chosen == 8
    assert found.eligible == (8,)


def test_the_soonest_size_is_picked_though_one_training_was_late():
    results = timed({8: 50_000, 32: 90_000}, rates=RATES)
    results[-1] = trial(32, 2, 0.89, examples_seen=(91_000,), objective_curve=(0.89,))
    found = decided(results, target=0.9)
    assert found.chosen == 32
    assert found.times.seeds == (3, 2)


def test_misses_enter_the_means_and_the_errors_of_what_is_compared():
    results = timed({8: 10_000, 32: 20_000}, seeds=6, rates=RATES, budget=40_000)
    sure = decided(results, target=0.9)
    results[-1] = trial(32, 5, 0.5, examples_seen=(40_000,), objective_curve=(0.5,))
    found = decided(results, target=0.9)
    assert found.eligible == (8, 32)
    assert found.times.mean(32) < sure.times.mean(32) - 0.2
    assert found.pooled.mean(32) - found.pooled.mean(8) < sure.pooled.mean(32) - sure.pooled.mean(8) - 0.2
    assert found.times.shared[1] > sure.times.shared[1] + 0.02
    assert found.times.shared[0] == pytest.approx(sure.times.shared[0])


def test_when_none_reached_the_target_the_scores_decide_and_it_says_so():
    found = decided(timed({8: None, 32: None}, rates=RATES), target=0.9)
    assert found.times is None
    assert found.obstacle == "no batch size reached the target on enough of its seeds"


def test_a_size_that_diverged_at_a_seed_is_not_picked():
    results = study({8: 0.90, 32: 0.95}, rates=RATES)
    results[-1] = trial(32, 2, status=Status.DIVERGED)
    assert decided(results).chosen == 8


def test_a_size_with_a_seed_stopped_early_is_not_picked():
    results = study({8: 0.90, 32: 0.95}, rates=RATES)
    results[-1] = trial(32, 2, status=Status.PRUNED)
    assert decided(results).chosen == 8


def test_a_seed_lost_by_chance_does_not_rule_a_size_out():
    results = study({8: 0.90, 32: 0.95}, rates=RATES)
    results[-1] = trial(32, 2, status=Status.FAILED)
    found = decided(results)
    assert found.chosen == 32
    assert found.quality.seeds == (3, 2)


def test_when_all_broke_the_best_of_what_ran_is_taken_and_it_says_so():
    results = [trial(8, 0, 0.9), trial(8, 1, status=Status.DIVERGED)]
    found = decided(results)
    assert found.chosen == 8
    assert found.obstacle == "no batch size completed all the seeds that were started"


def test_searched_sizes_do_not_compete_with_confirmed_ones():
    results = study({8: 0.99}) + study({32: 0.95, 128: 0.94}, stage="confirm")
    assert decided(results, rule="quality").chosen == 32
    assert unconfirmed(group_into_arms(results, objective=MAX)) == [8]
    assert unconfirmed(group_into_arms(study({8: 0.9}), objective=MAX)) == []


def test_a_measured_minimum_that_its_neighbours_contradict_is_not_taken():
    # One run each; examples follow a law, throughput grows by a fifth per doubling, and 64 is lucky.
    sizes = [8, 16, 32, 64, 128, 256]
    examples = {size: 10_000 * (1 + size / 60) for size in sizes}
    rates = {size: 1000 * 1.2**i for i, size in enumerate(sizes)}
    lucky = decided(timed(examples | {64: 17_500}, rates=rates, seeds=1, spread=0.0), target=0.9)
    assert lucky.times.best == 64
    assert lucky.chosen != 64


def test_exact_repeats_decide_without_a_posterior():
    found = decided(timed({8: 10_000, 32: 20_000}, spread=0.0, rates=RATES), target=0.9)
    assert found.chosen == 32
    score = decided(study({8: 0.5, 32: 0.25}, noise=(0.0, 0.0)))
    assert (score.chosen, score.pooled, score.chance_of_loss, score.expected_loss) == (8, None, None, None)


def test_what_is_clearly_slower_is_not_taken_whatever_the_posterior_says(monkeypatch):
    posterior = Pooled((8, 32, 128), (1.0, 0.0, 0.0), np.zeros((4, 3)))
    monkeypatch.setattr(decision, "pool_times", lambda *_: posterior)
    found = decided(timed({8: 900_000, 32: 1000, 128: 1000}, budget=1_000_000), target=0.9)
    assert found.times.is_worse(8)
    assert found.chosen == 128


def test_the_loss_stated_with_a_target_is_a_tenth_of_the_time():
    found = decided(timed({8: 10_000, 32: 12_000}, rates=RATES), target=0.9)
    assert found.margin == pytest.approx(math.log(1.1))
