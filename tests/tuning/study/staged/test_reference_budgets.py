"""The target that a reference sets, and the budgets that follow from it."""

from __future__ import annotations

import pytest
from simulation import question

from tuning.stats.results import TrialResult
from tuning.study.staged.reference import (
    SLACK,
    Reference,
    confirm_budget,
    expected_examples,
    judged_target,
    read_reference,
    reference_budget,
    search_budget,
)
from tuning.trial import Goal, Status

REFERENCE = Reference(batch_size=64, learning_rate=0.001, target=0.9, examples=10_000.0)


def result(*scores: float, seed: int = 0, batch_size: int = 64) -> TrialResult:
    seen = tuple(1000 * epoch for epoch in range(1, len(scores) + 1))
    return TrialResult(
        batch_size, seed, Status.COMPLETED, 0.001, scores[-1], examples_seen=seen, objective_curve=scores
    )


def test_budgets_follow_the_law_of_updates() -> None:
    assert SLACK * expected_examples(REFERENCE, 1024, critical=256.0) == pytest.approx(80_000)
    assert SLACK * expected_examples(REFERENCE, 16, critical=256.0) == pytest.approx(17_000)
    assert search_budget(REFERENCE, 1024, 256.0, question()).epochs == 80
    assert search_budget(REFERENCE, 16, 256.0, question()).goal == Goal("val_accuracy", 0.9, maximize=True)


def test_a_confirmed_training_takes_all_the_epochs_at_least() -> None:
    budget = confirm_budget(REFERENCE, 16, 256.0, question(epochs=30))
    assert budget.epochs == 30
    assert budget.goal == Goal("val_accuracy", 0.9, maximize=True, least_epochs=30)


def test_a_reference_with_a_target_of_the_user_may_take_twice_as_long_to_reach_it() -> None:
    assert reference_budget(question(epochs=10)).goal is None
    budget = reference_budget(question(epochs=10, target=0.7))
    assert (budget.epochs, budget.goal) == (20, Goal("val_accuracy", 0.7, maximize=True))


def test_the_target_is_what_every_seed_had_at_nine_tenths_of_the_budget() -> None:
    trials = [result(*[0.1 * i for i in range(1, 11)]), result(*[0.05 * i for i in range(1, 11)], seed=1)]
    found = read_reference(trials, question())
    assert found.target == pytest.approx(0.45)
    assert found.examples == pytest.approx((4500 * 9000) ** 0.5)


def test_the_largest_loss_of_the_seeds_is_the_target_where_less_is_better() -> None:
    trials = [result(*[1 / i for i in range(1, 11)]), result(*[2 / i for i in range(1, 11)], seed=1)]
    assert read_reference(trials, question(maximize=False)).target == pytest.approx(2 / 9, rel=1e-3)


def test_a_target_of_the_user_is_taken_as_it_is_and_counts_as_the_whole_run_where_missed() -> None:
    found = read_reference([result(0.1, 0.2)], question(target=0.7))
    assert (found.target, found.examples) == (0.7, pytest.approx(2000))


def test_a_target_that_some_size_reached_on_all_its_fresh_seeds_stays() -> None:
    confirmed = [result(0.5, 0.92, 0.91, batch_size=16), result(0.9, batch_size=16, seed=1), result(0.8), result(0.7)]
    assert judged_target(REFERENCE, confirmed, question()) == REFERENCE.target


def test_a_target_that_was_luck_gives_way_to_what_the_reference_reaches_on_fresh_seeds() -> None:
    curve = [0.08 * i for i in range(1, 11)]
    confirmed = [result(*curve), result(*curve[:-1], 0.95, seed=1), result(0.95, batch_size=16)]
    confirmed += [result(0.2, 0.3, batch_size=16, seed=1)]
    assert judged_target(REFERENCE, confirmed, question()) == pytest.approx(0.72)
    losses = [result(*[1 - score for score in curve])]
    low = Reference(64, 0.001, target=0.1, examples=10_000.0)
    assert judged_target(low, losses, question(maximize=False)) == pytest.approx(0.28)


def test_a_target_of_the_user_or_without_fresh_trainings_of_the_reference_stays() -> None:
    assert judged_target(REFERENCE, [result(0.1, 0.2)], question(target=0.9)) == REFERENCE.target
    assert judged_target(REFERENCE, [result(0.2, batch_size=16)], question()) == REFERENCE.target
