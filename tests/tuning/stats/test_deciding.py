"""The trials that decided stand behind the numbers of the table."""

import pytest
from selection_helpers import MAX, study, timed, trial

from tuning.stats.deciding import deciding_trials
from tuning.stats.recommendation import recommend
from tuning.trial import Status


def named(trials):
    from dataclasses import replace

    return [replace(each, trial_id=str(index)) for index, each in enumerate(trials)]


def deciding(trials, target=None):
    found = recommend(trials, objective=MAX, target=target)
    return found.table, deciding_trials(trials, found.table, objective=MAX, target=target)


def test_they_are_those_of_the_best_rate_that_completed_and_their_scores_give_the_mean():
    trials = named(
        [
            *study({8: 0.90, 32: 0.95}, learning_rate=0.01),
            *study({8: 0.80, 32: 0.70}, learning_rate=0.1),
            trial(128, 0, status=Status.DIVERGED, learning_rate=0.01),
            trial(32, 7, status=Status.PRUNED, learning_rate=0.1),
        ]
    )
    table, found = deciding(trials)
    assert sorted(found, key=int) == ["0", "1", "2", "3", "4", "5"]
    for row, ids in zip(table, (("0", "1", "2"), ("3", "4", "5")), strict=False):
        assert sum(found[name]["score"] for name in ids) / 3 == pytest.approx(row.objective_mean, abs=1e-4)
        assert {found[name]["mean"] for name in ids} == {round(row.objective_mean, 4)}
    assert {numbers["log2_batch_size"] for numbers in found.values()} == {3.0, 5.0}


def test_where_sizes_are_confirmed_those_trials_alone_decide():
    trials = named(study({8: 0.99, 32: 0.97}) + study({8: 0.90, 32: 0.95}, stage="confirm"))
    assert sorted(deciding(trials)[1], key=int) == [str(index) for index in range(6, 12)]


def test_the_time_to_a_target_is_told_as_the_table_tells_it():
    trials = named(timed({8: 10_000, 32: 12_000}, rates={8: 500.0, 32: 2000.0}))
    table, found = deciding(trials, target=0.9)
    assert found["0"]["seconds_to_target"] == pytest.approx(table[0].seconds_to_target, rel=5e-3)
