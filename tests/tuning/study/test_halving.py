"""Successive halving: who is stopped, who survives, and that every batch size keeps one."""

from __future__ import annotations

import dataclasses

import pytest

from search_spaces.space import Setting
from tuning.study.halving import Curve, Halving, is_behind, rung_reached, starved
from tuning.study.plans import Planned
from tuning.study.records import Budget, TrialRecord
from tuning.trial import EpochReport, Status, TrialOutcome

N = 100


def trial(
    rate: float, scores: list[float], status: Status | None = Status.COMPLETED, *, size: int = 8, seed: int = 0
) -> TrialRecord:
    epochs = tuple(EpochReport("t", i, i * N, i, {"acc": score}, 0.0) for i, score in enumerate(scores, start=1))
    outcome = None if status is None else TrialOutcome("t", status)
    return TrialRecord("t", 0, Setting(size, rate), seed, "search", outcome, epochs, budget=Budget(9))


def stops(running: TrialRecord, *others: TrialRecord, maximize: bool = True) -> bool:
    return Halving("acc", maximize=maximize, epochs=1, n_train=N).should_stop(running, [running, *others])


def test_rungs_are_shares_of_the_examples_and_met_once() -> None:
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


def test_a_smaller_loss_is_better() -> None:
    done = trial(0.1, [0.5] * 9)
    assert stops(trial(0.3, [0.6], None), done, maximize=False)
    assert not stops(trial(0.3, [0.4], None), done, maximize=False)


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


def test_between_rungs_nothing_is_decided() -> None:
    assert not is_behind(Curve((50,), (0.1,)), [Curve((100,), (0.9,))], 100.0)


def test_a_batch_size_whose_survivor_broke_gets_its_best_stopped_trial_back() -> None:
    broken, early, late = (
        trial(0.1, [0.9] * 5, Status.DIVERGED),
        trial(0.2, [0.5], Status.PRUNED),
        trial(0.3, [0.5] * 3, Status.PRUNED),
    )
    assert starved([broken, early, late]) == Planned(late.setting, 0, "search", Budget(9))
    assert starved([broken, early, late, trial(0.3, [], None)]) is None
    assert starved([broken, early, late, trial(0.3, [0.5] * 9)]) is None
    failed = trial(0.3, [0.5] * 9, Status.FAILED)
    assert starved([broken, early, late, failed]) == Planned(early.setting, 0, "search", Budget(9))
    assert starved([trial(0.1, [0.9] * 9), early]) is None
