"""Successive halving: who is stopped, who survives, and that every batch size keeps one."""

from __future__ import annotations

import dataclasses

import pytest
from study_helpers import add, ended, records_of, with_curve

from search_spaces.space import Setting
from tuning.instructions import Budget
from tuning.objective import Objective
from tuning.plans.halving import RUNGS, Course, Halving, is_behind, rung_reached
from tuning.trial import Status, Trial

N = 100


def trial(
    rate: float, scores: list[float], status: Status | None = Status.COMPLETED, *, size: int = 8, seed: int = 0
) -> Trial:
    planned = with_curve(Trial(Setting(size, rate), seed, budget=Budget(9)), scores, "acc", N)
    return planned if status is None else ended(planned, status, scores[-1] if scores else None)


def halving(direction: str = "max") -> Halving:
    return Halving(Objective("acc", direction), n_train=N)


def stops(running: Trial, *others: Trial, direction: str = "max") -> bool:
    records = records_of(others)
    return halving(direction).should_stop(add(records, running), records)


def test_rungs_are_shares_of_the_examples_and_met_once() -> None:
    assert RUNGS == (1 / 9, 1 / 3)
    assert rung_reached([100], 900) == pytest.approx(100)
    assert rung_reached([100, 200], 900) is None
    assert rung_reached([100, 200, 300], 900) == pytest.approx(300)
    assert rung_reached([1000], 900) == pytest.approx(300)
    assert rung_reached([], 900) is None


def test_the_first_trial_of_a_batch_size_is_never_stopped() -> None:
    assert not stops(trial(0.1, [0.0], None))


def test_the_worse_of_two_is_stopped_and_the_better_is_not() -> None:
    done = trial(0.1, [0.5] * 9)
    assert stops(trial(0.3, [0.4], None), done)
    assert not stops(trial(0.3, [0.6], None), done)


def test_of_three_only_the_worst_is_stopped() -> None:
    others = trial(0.1, [0.5] * 9), trial(0.2, [0.7], Status.PRUNED)
    assert not stops(trial(0.3, [0.6], None), *others)
    assert stops(trial(0.3, [0.4], None), *others)


def test_of_five_the_best_three_go_on() -> None:
    others = [trial(0.1 * i, [score] * 9) for i, score in enumerate((0.9, 0.8, 0.7, 0.1), start=1)]
    assert not stops(trial(0.9, [0.75], None), *others)
    assert stops(trial(0.9, [0.65], None), *others)


def test_a_smaller_loss_is_better() -> None:
    done = trial(0.1, [0.5] * 9)
    assert stops(trial(0.3, [0.6], None), done, direction="min")
    assert not stops(trial(0.3, [0.4], None), done, direction="min")


def test_other_batch_sizes_seeds_and_broken_trials_do_not_count() -> None:
    for other in (
        trial(0.1, [0.9] * 9, size=16),
        trial(0.1, [0.9] * 9, seed=1),
        trial(0.1, [0.9] * 3, Status.DIVERGED),
    ):
        assert not stops(trial(0.3, [0.1], None), other)


def test_nobody_is_stopped_for_one_that_was_stopped() -> None:
    assert not stops(trial(0.3, [0.1], None), trial(0.1, [0.9], Status.PRUNED))


def test_a_trial_that_ended_at_its_goal_before_the_rung_is_ahead() -> None:
    quick = trial(0.1, [0.8, 0.9])
    assert stops(trial(0.3, [0.1, 0.2, 0.85], None), quick)


def test_trials_that_confirm_are_never_stopped() -> None:
    confirming = dataclasses.replace(trial(0.3, [0.1], None), stage="confirm")
    assert not stops(confirming, dataclasses.replace(trial(0.1, [0.9] * 9), stage="confirm"))


def test_a_search_without_pruning_stops_nobody() -> None:
    records = records_of([trial(0.1, [0.5] * 9)])
    assert not Halving(Objective("acc"), n_train=N, stops=False).should_stop(
        add(records, trial(0.3, [0.1], None)), records
    )


def test_between_rungs_nothing_is_decided() -> None:
    assert not is_behind(Course((50,), (0.1,)), [Course((100,), (0.9,))], 100.0)


def starved(*trials: Trial) -> Setting | None:
    found = halving().starved(records_of(trials))
    return None if found is None else found.setting


def test_a_batch_size_whose_survivor_broke_gets_its_best_stopped_trial_back() -> None:
    broken, early, late = (
        trial(0.1, [0.9] * 5, Status.DIVERGED),
        trial(0.2, [0.5], Status.PRUNED),
        trial(0.3, [0.5] * 3, Status.PRUNED),
    )
    assert starved(broken, early, late) == late.setting
    assert starved(broken, early, late, trial(0.3, [], None)) is None
    assert starved(broken, early, late, trial(0.3, [0.5] * 9)) is None
    assert starved(broken, early, late, trial(0.3, [0.5] * 9, Status.FAILED)) == early.setting
    assert starved(trial(0.1, [0.9] * 9), early) is None


def test_what_is_starved_follows_the_records() -> None:
    rule, records = halving(), records_of([trial(0.2, [0.5], Status.PRUNED)])
    first = add(records, trial(0.1, [0.9] * 5, None))
    assert rule.starved(records) is None
    records.put(ended(first, Status.DIVERGED))
    found = rule.starved(records)
    assert found is not None
    add(records, dataclasses.replace(found, outcome=None))
    assert rule.starved(records) is None
