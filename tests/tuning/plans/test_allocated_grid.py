"""A grid whose further seeds go to the batch sizes that may be the best."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from study_helpers import add, ended, records_of, with_curve

from search_spaces import BatchSize, LearningRate, SearchSpace
from tuning.instructions import Budget
from tuning.objective import Objective
from tuning.plans.allocated_grid import AllocatedGridPlan, SeedGoal
from tuning.plans.plan import Judgement, Pause
from tuning.study.records import Records
from tuning.trial import Trial

SIZES = (8, 32, 128, 512)
SPACE = SearchSpace(BatchSize.of(*SIZES), LearningRate(), optimizer="Adam", model_rate=0.001)
RATES = SearchSpace(BatchSize.of(*SIZES), LearningRate.choices(0.001, 0.01), optimizer="Adam", model_rate=0.001)
GOAL = SeedGoal(Objective("val_accuracy", "max"))

Score = Callable[[Trial], float]


def plan_of(space: SearchSpace = SPACE, goal: SeedGoal = GOAL, **rest: int) -> AllocatedGridPlan:
    return AllocatedGridPlan(space, goal, budget=Budget(2), **rest)


def run_out(plan: AllocatedGridPlan, score: Score, records: Records | None = None) -> list[Trial]:
    records = records_of() if records is None else records
    while isinstance(planned := plan.next(records), Trial):
        found = score(planned)
        records.put(ended(with_curve(add(records, planned), [found / 2, found]), score=found, examples_per_second=1e4))
    assert planned is Pause.DONE
    return list(records)


def two_leaders(trial: Trial) -> float:
    """8 and 32 differ by less than seeds do; the others are far behind."""
    behind = {8: 0.0, 32: 0.001, 128: 0.3, 512: 0.4}[trial.batch_size]
    noise = np.random.default_rng([trial.seed, trial.batch_size]).normal()
    return float(0.9 - behind + 0.01 * noise)


def seeds_by_size(trials: list[Trial]) -> dict[int, int]:
    return dict(Counter(trial.batch_size for trial in trials))


def test_further_seeds_go_to_the_sizes_that_may_be_the_best_and_to_no_other() -> None:
    found = seeds_by_size(run_out(plan_of(), two_leaders))
    assert (found[128], found[512]) == (2, 2)
    assert found[8] == found[32]
    assert 2 < found[8] <= 5


def test_a_clear_best_size_ends_the_grid_after_two_seeds() -> None:
    def clear(trial: Trial) -> float:
        return {8: 0.9, 32: 0.7, 128: 0.6, 512: 0.5}[trial.batch_size] + 0.001 * trial.seed * (1 + trial.batch_size % 3)

    plan = plan_of()
    trials = run_out(plan, clear)
    assert [(trial.seed, trial.batch_size) for trial in trials] == [(seed, size) for seed in (0, 1) for size in SIZES]
    assert plan.total(records_of(trials)) == 8


def test_no_size_gets_more_seeds_than_asked_for() -> None:
    found = run_out(plan_of(goal=replace(GOAL, most_seeds=3)), two_leaders)
    assert seeds_by_size(found) == {8: 3, 32: 3, 128: 2, 512: 2}


def test_only_the_best_rate_of_a_size_gets_further_seeds() -> None:
    found = run_out(plan_of(RATES), lambda trial: two_leaders(trial) - 0.2 * (trial.learning_rate == 0.001))
    further = [trial for trial in found if trial.seed > 1]
    assert further
    assert {trial.learning_rate for trial in further} == {0.01}
    assert all(trial.batch_size in (8, 32) for trial in further)


def test_the_next_seed_waits_for_those_that_run() -> None:
    plan, records = plan_of(), records_of()
    trials = []
    while isinstance(planned := plan.next(records), Trial):
        trials.append(add(records, planned))
    assert (planned, len(trials)) == (Pause.WAIT, 8)
    for trial in trials[:-1]:
        records.put(ended(trial, score=two_leaders(trial)))
    assert plan.next(records) is Pause.WAIT
    records.put(ended(trials[-1], score=two_leaders(trials[-1])))
    assert isinstance(plan.next(records), Trial)


@pytest.mark.parametrize("done", [3, 8, 9, 10])
def test_a_grid_that_was_cut_short_goes_on_to_the_same_trials(done: int) -> None:
    whole = run_out(plan_of(), two_leaders)
    resumed = run_out(plan_of(), two_leaders, records_of(whole[:done]))
    assert {trial.key for trial in resumed} == {trial.key for trial in whole}


def test_a_target_makes_times_decide_which_sizes_are_worth_a_seed() -> None:
    """All end with about one score, but 8 comes to the target in half the epochs: only that is close no more."""

    def run(goal: SeedGoal) -> int:
        plan, records = plan_of(goal=goal), records_of()
        while isinstance(planned := plan.next(records), Trial):
            jitter = 0.004 * ((5 * planned.seed + planned.batch_size) % 3)
            curve = [0.88, 0.9] if planned.batch_size == 8 else [0.1, 0.9]
            curve = [value + jitter for value in curve]
            trial = with_curve(add(records, planned), curve)
            records.put(ended(trial, score=curve[-1], examples_per_second=1e4))
        return len(records)

    assert run(GOAL) > 8
    assert run(SeedGoal(Objective("val_accuracy", "max"), target=0.8)) == 8


def test_limited_trials_end_the_grid() -> None:
    assert len(run_out(plan_of(max_trials=9), two_leaders)) == 9
    assert len(run_out(plan_of(max_trials=3), two_leaders)) == 3


def test_the_first_seed_is_the_caller_s_and_the_judging_left_to_the_options() -> None:
    plan = plan_of(first_seed=7)
    found = run_out(plan, lambda trial: 0.9 - 0.1 * trial.batch_size / 512 + 0.001 * trial.seed)
    assert {trial.seed for trial in found} == {7, 8}
    assert plan.judgement(records_of()) == Judgement()
    assert plan.outline(records_of()) == ""
