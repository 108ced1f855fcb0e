import dataclasses
import math

import pytest
from selection_helpers import MAX, MIN, timed, trial

from search_spaces.space import Setting
from tuning.stats.arms import Chooser, group_into_arms, mean_by_seed
from tuning.trial import Status


def only(results, **options):
    (arm,) = group_into_arms(results, **({"objective": MAX} | options))
    return arm


def rates(scores, size=32, seeds=1, **fields):
    """One trial per learning rate and seed."""
    return [
        trial(size, seed, score, learning_rate=rate, **fields)
        for rate, score in scores.items()
        for seed in range(seeds)
    ]


def test_one_arm_per_batch_size_in_ascending_order():
    arms = group_into_arms([trial(64, 0, 0.5), trial(8, 0, 0.5), trial(64, 1, 0.6)], objective=MAX)
    assert [arm.batch_size for arm in arms] == [8, 64]
    assert arms[1].scores == {0: 0.5, 1: 0.6}


def test_best_learning_rate_by_the_direction_of_the_objective():
    results = rates({0.001: 0.2, 0.01: 0.5, 0.1: 0.2})
    assert only(results).learning_rate == 0.01
    assert only(rates({0.001: 0.9, 0.01: 0.5, 0.1: 0.9}), objective=MIN).learning_rate == 0.01


def test_confirming_trials_alone_judge_a_batch_size():
    results = rates({0.001: 0.9, 0.01: 0.5}) + [trial(32, s, 0.7, learning_rate=0.01, stage="confirm") for s in (1, 2)]
    arm = only(results)
    assert (arm.learning_rate, arm.scores, arm.confirmed) == (0.01, {1: 0.7, 2: 0.7}, True)
    assert arm.settings == 2


def test_repeated_seed_is_averaged_and_a_run_that_was_made_good_is_not_lost():
    arm = only([trial(8, 0, 0.4), trial(8, 0, 0.6), trial(8, 1, status=Status.FAILED), trial(8, 1, 0.7)])
    assert arm.scores == {0: 0.5, 1: 0.7}
    assert arm.lost == {}


def test_lost_seeds_say_how_they_ended():
    arm = only([trial(8, 0, 0.4), trial(8, 1, status=Status.DIVERGED), trial(8, 2, status=Status.INTERRUPTED)])
    assert arm.lost == {1: Status.DIVERGED, 2: Status.INTERRUPTED}
    assert arm.broken is Status.DIVERGED


def test_sound_setting_comes_before_a_better_one_that_diverges_at_a_seed():
    shaky = [trial(8, 0, 0.9, learning_rate=0.1), trial(8, 1, status=Status.DIVERGED, learning_rate=0.1)]
    assert only(shaky + rates({0.01: 0.6}, size=8, seeds=2)).learning_rate == 0.01


def test_several_hyperparameters_let_many_seeds_beat_one_lucky_score():
    steady = [trial(8, s, 0.80 + 0.02 * s, hyperparameters=(("units", 64),)) for s in range(4)]
    lucky = [trial(8, 0, 0.84, hyperparameters=(("units", 32),))]
    assert only(steady + lucky).hyperparameters == (("units", 64),)
    assert only([*steady, trial(8, 0, 0.95, hyperparameters=(("units", 32),))]).hyperparameters == (("units", 32),)


def test_measured_noise_keeps_smoothing_from_overriding_clear_differences():
    # The best rate has bad neighbours; its seeds agree to .001, so it is no luck.
    scores = {1e-4: 0.5, 3e-4: 0.5, 1e-3: 0.8, 3e-3: 0.5, 1e-2: 0.79, 3e-2: 0.79}
    results = [trial(8, s, y + 0.001 * s, learning_rate=r) for r, y in scores.items() for s in range(3)]
    assert only(results).learning_rate == 1e-3


def test_target_ranks_settings_by_examples_to_it():
    results = []
    for rate, examples, final in ((0.001, 50_000, 0.96), (0.01, 10_000, 0.91)):
        (run,) = timed({32: examples}, seeds=1)
        results.append(dataclasses.replace(run, setting=Setting(32, rate), score=final))
    assert only(results).learning_rate == 0.001
    assert only(results, target=0.9).learning_rate == 0.01


def test_edge_needs_three_rates_and_counts_diverged_neighbours():
    assert only(rates({0.001: 0.1, 0.01: 0.9})).edge is None
    assert only(rates({0.001: 0.1, 0.01: 0.5, 0.1: 0.9})).edge == "highest"
    assert only(rates({0.001: 0.9, 0.01: 0.5, 0.1: 0.1})).edge == "lowest"
    results = [*rates({0.001: 0.1, 0.01: 0.9}), trial(32, 0, status=Status.DIVERGED, learning_rate=0.1)]
    assert only(results).edge is None


def test_batch_size_without_a_score_keeps_its_trials():
    arm = only([trial(8, 0, status=Status.OUT_OF_MEMORY, learning_rate=0.1)])
    assert arm.scores == {}
    assert arm.broken is Status.OUT_OF_MEMORY


def test_a_pruned_rate_counts_as_bad_for_its_neighbours():
    neighbours = rates({0.01: 0.9, 0.03: 0.9, 0.003: 0.8, 0.001: 0.7})
    stopped = trial(32, 0, status=Status.PRUNED, learning_rate=0.09)
    assert only([*neighbours, stopped]).learning_rate == 0.01
    assert only(neighbours).learning_rate == 0.03


def test_repeats_of_a_seed_are_averaged():
    assert mean_by_seed([(1, 3.0), (0, 1.0), (1, 5.0), (2, None)]) == {0: 1.0, 1: 4.0}


def test_a_missed_target_counts_as_reached_at_twice_the_budget():
    missed = trial(32, 0, 0.5, examples_seen=(1000, 2000), objective_curve=(0.1, 0.5))
    reached = trial(32, 1, 0.9, examples_seen=(2000,), objective_curve=(0.9,))
    chooser = Chooser([missed, reached], objective=MAX, target=0.9)
    assert chooser.value(missed) == pytest.approx(-math.log(4000))
    assert chooser.value(reached) == pytest.approx(-math.log(2000))


def test_a_rate_that_misses_the_target_at_one_seed_loses_to_one_that_is_a_little_slower():
    steady = [
        dataclasses.replace(run, setting=Setting(32, 0.001)) for run in timed({32: 30_000}, seeds=2, budget=50_000)
    ]
    once = [dataclasses.replace(run, setting=Setting(32, 0.01)) for run in timed({32: 20_000}, seeds=1)]
    never = trial(32, 1, 0.89, learning_rate=0.01, examples_seen=(25_000, 40_000), objective_curve=(0.5, 0.89))
    assert only([*steady, *once, never], target=0.9).learning_rate == 0.001


@pytest.mark.parametrize("status", [Status.FAILED, Status.INTERRUPTED, Status.LOST])
def test_a_trial_that_ended_by_chance_tries_no_learning_rate(status):
    results = [*rates({0.001: 0.1, 0.01: 0.9}), trial(32, 0, status=status, learning_rate=0.1)]
    assert only(results).learning_rates == (0.001, 0.01)


def reaching(rate, hit):
    """A training that reaches .9 at `hit` examples, or sees 1950 in vain."""
    seen, curve = ((hit - 1, hit), (0.1, 0.9)) if hit else ((1000, 1950), (0.1, 0.5))
    return trial(32, 0, curve[-1], learning_rate=rate, examples_seen=seen, objective_curve=curve)


def test_with_a_target_a_rate_beside_one_that_missed_it_loses_to_one_that_was_a_little_later():
    runs = [reaching(0.003, 1300), reaching(0.01, 1000), reaching(0.03, 980), reaching(0.09, None)]
    assert only(runs, target=0.9).learning_rate == 0.01


def test_with_a_target_an_inner_one_of_rates_that_do_equally_well_is_taken():
    runs = [reaching(rate, 1000) for rate in (0.003, 0.01, 0.03, 0.09)]
    assert only(runs, target=0.9).learning_rate in (0.01, 0.03)


def test_a_rate_that_missed_the_target_is_not_taken_even_where_it_lies_between_two_that_reached_it():
    runs = [reaching(0.03, None), reaching(0.01, 1900), reaching(0.09, 1900)]
    assert only(runs, target=0.9).learning_rate in (0.01, 0.09)
