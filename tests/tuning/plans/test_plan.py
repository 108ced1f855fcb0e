"""A grid in its order, whatever has run before, and the wall that memory is."""

from __future__ import annotations

from study_helpers import add, ended, records_of

from search_spaces import BatchSize, LearningRate, SearchSpace, Setting
from tuning.instructions import Budget
from tuning.plans.plan import GridPlan, Judgement, MemoryWall, Pause
from tuning.trial import Status, Trial

SPACE = SearchSpace(BatchSize.of(8, 32, 128), LearningRate(), optimizer="Adam", model_rate=0.001)
BUDGET = Budget(3)


def run_out(plan: GridPlan) -> list[Trial]:
    records = records_of()
    while isinstance(planned := plan.next(records), Trial):
        records.put(ended(add(records, planned)))
    assert planned is Pause.DONE
    return list(records)


def test_a_grid_compares_all_sizes_at_the_first_seed_before_the_second() -> None:
    trials = run_out(GridPlan(SPACE, seeds=2, budget=BUDGET))
    assert [(trial.seed, trial.batch_size) for trial in trials] == [(s, b) for s in (0, 1) for b in (8, 32, 128)]
    assert {(trial.stage, trial.budget) for trial in trials} == {("search", BUDGET)}


def test_a_grid_goes_on_with_what_is_missing() -> None:
    plan = GridPlan(SPACE, seeds=1, budget=BUDGET)
    small, middle, _ = (Trial(setting, 0) for setting in SPACE.grid())
    records = records_of([ended(middle), small])
    found = plan.next(records)
    assert isinstance(found, Trial)
    assert found.batch_size == 128


def test_a_grid_of_limited_trials_ends_with_them() -> None:
    plan = GridPlan(SPACE, seeds=2, budget=BUDGET, max_trials=4)
    assert plan.total(records_of()) == len(run_out(plan)) == 4


def test_a_grid_leaves_the_judging_to_the_options() -> None:
    plan = GridPlan(SPACE, seeds=1, budget=BUDGET)
    assert plan.judgement(records_of()) == Judgement()
    assert plan.outline(records_of()) == ""


def wall_of(*trials: Trial) -> MemoryWall:
    wall = MemoryWall()
    for trial in trials:
        wall.add(trial)
    return wall


def at(size: int, status: Status, **hyperparameters: int) -> Trial:
    return ended(Trial(Setting(size, 0.1, tuple(hyperparameters.items())), 0), status)


def test_running_out_of_memory_rules_out_all_larger_sizes() -> None:
    wall = wall_of(at(64, Status.OUT_OF_MEMORY))
    assert wall.rules_out(Setting(64, 0.3))
    assert wall.rules_out(Setting(128, 0.1))
    assert not wall.rules_out(Setting(32, 0.1))
    assert not wall.rules_out(Setting(128, 0.1, (("units", 8),)))


def test_a_death_below_a_size_that_fits_was_not_for_memory() -> None:
    for trials in ([at(64, Status.OUT_OF_MEMORY), at(256, Status.COMPLETED)], [at(256, Status.COMPLETED)]):
        assert not wall_of(*trials).rules_out(Setting(128, 0.1))
    later = wall_of(at(256, Status.COMPLETED), at(64, Status.OUT_OF_MEMORY), at(512, Status.OUT_OF_MEMORY))
    assert not later.rules_out(Setting(256, 0.1))
    assert later.rules_out(Setting(512, 0.1))


def test_other_failures_say_nothing_of_memory() -> None:
    assert not wall_of(at(64, Status.FAILED), at(32, Status.LOST)).rules_out(Setting(128, 0.1))


def test_a_single_example_that_does_not_fit_rules_out_everything() -> None:
    alone = at(1, Status.OUT_OF_MEMORY)
    assert wall_of(at(2, Status.COMPLETED), at(64, Status.OUT_OF_MEMORY), alone).rules_out_all is False
    assert wall_of(at(64, Status.OUT_OF_MEMORY)).rules_out_all is False
    assert wall_of(alone).rules_out_all is True
    assert wall_of(alone, at(1, Status.COMPLETED)).rules_out_all is False  # something else had filled the memory
