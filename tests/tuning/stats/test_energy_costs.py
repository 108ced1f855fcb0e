"""Energy as the cost that decides, and why it may not decide."""

import dataclasses
import math

import pytest
from selection_helpers import MAX, RATES, study, timed, trial

from tuning.stats.arms import group_into_arms
from tuning.stats.costs import arm_costs
from tuning.stats.next_seed import sizes_worth_another_seed
from tuning.stats.reasons import energy
from tuning.stats.recommendation import recommend
from tuning.stats.table import columns_of

JOULES = {8: 0.4, 32: 0.1, 128: 0.2, 512: 0.5}


def powered(results, joules=JOULES, **more):
    """The same trials with the energy of an example by batch size; a size that is not named tells none."""
    return [
        dataclasses.replace(
            each, outcome=dataclasses.replace(each.outcome, joules_per_example=joules.get(each.batch_size), **more)
        )
        for each in results
    ]


def costs_of(results, *, target=None, cost="energy"):
    arms = group_into_arms(results, objective=MAX, target=target)
    return arm_costs(arms, objective=MAX, target=target, throughput=None, cost=cost)


def test_joules_to_the_target_are_examples_to_it_times_joules_per_example():
    results = powered(timed({8: 1000, 32: 3000}, rates=RATES))
    costs = costs_of(results, target=0.9)
    assert costs.kind == "joules to the target"
    assert costs.by_batch_size == {b: pytest.approx(JOULES[b] * costs.examples_to_target(b)) for b in (8, 32)}
    assert costs.log_rate(8) == pytest.approx(-math.log(0.4))
    assert costs.ties == {b: costs.seconds_to_target(b) for b in (8, 32)}


def test_time_is_the_cost_where_energy_is_not_asked_for():
    results = powered(timed({8: 1000, 32: 3000}, rates=RATES))
    costs = costs_of(results, target=0.9, cost="time")
    assert (costs.kind, costs.ties, costs.is_energy) == ("seconds to the target", {}, False)
    assert costs.joules_per_example == {8: 0.4, 32: 0.1}


def test_joules_of_training_use_the_largest_budget():
    results = powered(study({8: 0.9, 32: 0.9}, rates=RATES, examples_seen=(500, 1000), objective_curve=(0.1, 0.9)))
    costs = costs_of(results)
    assert (costs.kind, costs.by_batch_size) == ("joules of training", {8: 400.0, 32: 100.0})


def test_without_examples_seen_the_joules_of_the_training_or_of_an_example_count():
    bare = study({8: 0.9, 32: 0.9}, rates=RATES)
    assert costs_of(powered(bare)).kind == "joules per example"
    whole = [dataclasses.replace(t, outcome=dataclasses.replace(t.outcome, energy_joules=7.0 * t.seed)) for t in bare]
    costs = costs_of(whole)  # the seed 0 tells none
    assert (costs.kind, costs.by_batch_size) == ("joules of training", {8: 10.5, 32: 10.5})


def test_one_batch_size_without_energy_leaves_the_decision_to_time():
    results = powered(timed({8: 1000, 32: 3000}, rates=RATES), {8: 0.4})
    assert costs_of(results, target=0.9).kind == "seconds to the target"


def test_a_batch_size_that_missed_the_target_need_not_tell_its_energy():
    results = powered(timed({8: 1000, 32: None}, rates=RATES), {8: 0.4})
    assert costs_of(results, target=0.9).kind == "joules to the target"


def told(results, **asked):
    found = recommend(results, objective=MAX, **asked)
    return found, " ".join(found.reasons)


def test_energy_decides_who_reaches_the_target():
    results = powered(timed({8: 10_000, 32: 12_000, 128: 20_000, 512: 40_000}, rates=RATES))
    by_time, _ = told(results, target=0.9)
    assert (by_time.batch_size, by_time.cost) == (128, "seconds to the target")
    found, words = told(results, target=0.9, cost="energy")
    assert (found.batch_size, found.cost) == (32, "joules to the target")
    assert "It reaches val_accuracy 0.9 with the least energy: 1200 J to the target, against" in words
    assert "The chance that it takes in truth over 10 % more energy than another one compared is" in words
    assert "soon" not in words
    assert "faster" not in words


def test_energy_decides_between_scores_that_are_near_enough():
    results = powered(study(dict.fromkeys(RATES, 0.9), rates=RATES))
    assert told(results)[0].batch_size == 512
    found, words = told(results, cost="energy")
    assert found.batch_size == 32
    assert "It costs least of 8, 32, 128 and 512" in words
    assert "0.10 J per example, against" in words


@pytest.mark.parametrize(("joules", "picked"), [(0.109, 128), (0.111, 32)])
def test_of_those_within_a_tenth_of_the_least_energy_the_fastest_is_taken(joules, picked):
    means = {**dict.fromkeys(RATES, 0.9), 32: 0.9001}  # else the better mean
    results = powered(study(means, rates=RATES), {**JOULES, 128: joules})
    assert told(results, cost="energy")[0].batch_size == picked


def test_the_answer_says_why_energy_could_not_decide():
    results = powered(timed({8: 1000, 32: 3000}, rates=RATES), {8: 0.4}, energy_note="2 processes computed on the card")
    found, _ = told(results, target=0.9, cost="energy")
    caveat = "Energy was to decide, but is not known for 32: 2 processes computed on the card; time decided instead."
    assert caveat in found.caveats
    assert found.energy_note == "Energy is not known for 32: 2 processes computed on the card."
    assert caveat not in told(results, target=0.9)[0].caveats
    assert "mJ/ex" in columns_of(found.table)


def test_energy_that_nobody_logged_is_said_to_be_so():
    found, _ = told([trial(8, 0, 0.9), trial(16, 0, 0.8)], cost="energy")
    assert found.caveats[0] == (
        "Energy was to decide, but is not known for 8 and 16: no trial logged it; time decided instead."
    )
    assert "mJ/ex" not in columns_of(found.table)


def test_a_close_race_of_energies_asks_for_further_seeds_where_the_times_are_clear():
    results = powered(timed({8: 10_000, 32: 12_000}, rates=RATES, spread=0.2, seeds=3), {8: 0.12, 32: 0.1})
    asked = {"objective": MAX, "target": 0.9}
    assert sizes_worth_another_seed(results, **asked) == ()
    assert sizes_worth_another_seed(results, **asked, cost="energy") == (8, 32)


def test_an_unknown_cost_is_refused():
    with pytest.raises(ValueError, match="cost must be one of time, energy; got 'money'"):
        recommend([trial(8, 0, 0.9)], objective=MAX, cost="money")


@pytest.mark.parametrize(
    ("joules", "words"),
    [(0.0123, "0.012 J"), (12.3, "12 J"), (1234.0, "1234 J"), (12_345.0, "12 kJ"), (3.21e6, "3.2 MJ")],
)
def test_energy_is_told_in_the_largest_unit_of_which_there_are_two(joules, words):
    assert energy(joules) == words
