"""The target that a reference sets, and the budgets that follow from it."""

from __future__ import annotations

import pytest
from simulation import goal

from tuning.instructions import Goal
from tuning.objective import Objective
from tuning.plans.staged.reference import (
    SLACK,
    Reference,
    confirm_budget,
    expected_examples,
    judged_target,
    read_reference,
    reference_budget,
    search_budget,
)
from tuning.trial import Trial, finished_trial

REFERENCE = Reference(batch_size=64, learning_rate=0.001, target=0.9, examples=10_000.0)


def result(*scores: float, seed: int = 0, batch_size: int = 64) -> Trial:
    curve = [(1000 * epoch, score) for epoch, score in enumerate(scores, start=1)]
    return finished_trial(batch_size, seed, scores[-1], learning_rate=0.001, curve=curve)


def test_budgets_follow_the_law_of_updates() -> None:
    assert SLACK * expected_examples(REFERENCE, 1024, critical=256.0) == pytest.approx(80_000)
    assert SLACK * expected_examples(REFERENCE, 16, critical=256.0) == pytest.approx(17_000)
    assert search_budget(REFERENCE, 1024, 256.0, goal()).epochs == 80
    assert search_budget(REFERENCE, 16, 256.0, goal()).goal == Goal(Objective("val_accuracy", "max"), 0.9)


@pytest.mark.parametrize(
    ("asked", "least_epochs"), [({}, 1), ({"rule": "balanced"}, 30), ({"tolerance": 0.01}, 30)], ids=str
)
def test_a_confirmed_training_ends_at_the_target_unless_final_scores_decide(
    asked: dict[str, object], least_epochs: int
) -> None:
    budget = confirm_budget(REFERENCE, 16, 256.0, goal(epochs=30, **asked))
    assert budget.epochs == 30
    assert budget.goal == Goal(Objective("val_accuracy", "max"), 0.9, least_epochs)


def test_a_reference_with_a_target_of_the_user_may_take_twice_as_long_to_reach_it() -> None:
    assert reference_budget(goal(epochs=10)).goal is None
    budget = reference_budget(goal(epochs=10, target=0.7))
    assert (budget.epochs, budget.goal) == (20, Goal(Objective("val_accuracy", "max"), 0.7))


def test_the_target_is_what_every_seed_had_at_nine_tenths_of_the_budget() -> None:
    trials = [result(*[0.1 * i for i in range(1, 11)]), result(*[0.05 * i for i in range(1, 11)], seed=1)]
    found = read_reference(trials, goal())
    assert found.target == pytest.approx(0.45)
    assert found.examples == pytest.approx((4500 * 9000) ** 0.5)


def test_the_largest_loss_of_the_seeds_is_the_target_where_less_is_better() -> None:
    trials = [result(*[1 / i for i in range(1, 11)]), result(*[2 / i for i in range(1, 11)], seed=1)]
    assert read_reference(trials, goal(objective=Objective("val_accuracy", "min"))).target == pytest.approx(
        2 / 9, rel=1e-3
    )


def test_a_target_of_the_user_is_taken_as_it_is_and_counts_as_the_whole_run_where_missed() -> None:
    found = read_reference([result(0.1, 0.2)], goal(target=0.7))
    assert (found.target, found.examples) == (0.7, pytest.approx(2000))


def test_a_target_that_some_size_reached_on_all_its_fresh_seeds_stays() -> None:
    confirmed = [result(0.5, 0.92, 0.91, batch_size=16), result(0.9, batch_size=16, seed=1), result(0.8), result(0.7)]
    assert judged_target(REFERENCE, confirmed, goal()) == REFERENCE.target


def test_a_target_that_was_luck_gives_way_to_what_the_reference_reaches_on_fresh_seeds() -> None:
    curve = [0.08 * i for i in range(1, 11)]
    confirmed = [result(*curve), result(*curve[:-1], 0.95, seed=1), result(0.95, batch_size=16)]
    confirmed += [result(0.2, 0.3, batch_size=16, seed=1)]
    assert judged_target(REFERENCE, confirmed, goal()) == pytest.approx(0.72)
    losses = [result(*[1 - score for score in curve])]
    low = Reference(64, 0.001, target=0.1, examples=10_000.0)
    assert judged_target(low, losses, goal(objective=Objective("val_accuracy", "min"))) == pytest.approx(0.28)


def test_a_target_of_the_user_or_without_fresh_trainings_of_the_reference_stays() -> None:
    assert judged_target(REFERENCE, [result(0.1, 0.2)], goal(target=0.9)) == REFERENCE.target
    assert judged_target(REFERENCE, [result(0.2, batch_size=16)], goal()) == REFERENCE.target
