"""Proposals, then the leaders on fresh seeds: in which order, with which seeds, and when it ends."""

from __future__ import annotations

from collections.abc import Callable

import optuna
import pytest
from study_helpers import add, ended, records_of

from search_spaces import BatchSize, LearningRate, SearchSpace, Setting
from tuning.instructions import Budget
from tuning.objective import Objective
from tuning.plans.bayes import BayesianBudget, BayesianPlan, MakeSampler
from tuning.plans.plan import Pause
from tuning.plans.samplers import Proposals, make_sampler
from tuning.study.encoding import Encoding
from tuning.study.records import Records
from tuning.trial import Status, Trial

OBJECTIVE = Objective("val_accuracy")


def space(*sizes: int, rate: LearningRate | None = LearningRate()) -> SearchSpace:
    return SearchSpace(BatchSize.of(*sizes), rate, optimizer="Adam", model_rate=0.001)


def by_chance(encoding: Encoding, is_acceptable: Callable[[Setting], bool]) -> optuna.samplers.BaseSampler:
    return make_sampler("random", encoding, is_acceptable, budget=12, objective=OBJECTIVE, seed=0)


def plan(
    where: SearchSpace, *, proposals: int = 12, seeds: int = 2, leaders: int = 3, sampler: MakeSampler = by_chance
) -> BayesianPlan:
    budget = BayesianBudget(proposals, seeds, Budget(2), leaders)
    return BayesianPlan(where, budget=budget, objective=OBJECTIVE, make_sampler=sampler)


def run_out(staged: BayesianPlan, scores: dict[int, float] | None = None, records: Records | None = None) -> Records:
    """Run a plan to its end with scores by batch size."""
    records = records_of() if records is None else records
    while isinstance(planned := staged.next(records), Trial):
        assert planned.budget == Budget(2)
        score = (scores or {}).get(planned.batch_size, 0.5)
        records.put(ended(add(records, planned), score=score))
    assert planned is Pause.DONE
    return records


def confirmed(records: Records) -> list[tuple[int, int]]:
    return [(trial.batch_size, trial.seed) for trial in records if trial.stage == "confirm"]


def test_the_leaders_are_confirmed_on_fresh_paired_seeds() -> None:
    staged = plan(space(8, 32, 128), leaders=2)
    records = run_out(staged, {8: 0.9, 32: 0.8, 128: 0.7})
    assert confirmed(records) == [(8, 1), (32, 1), (8, 2), (32, 2)]
    assert len(records) == staged.total(records)


def test_one_seed_confirms_nothing() -> None:
    assert confirmed(run_out(plan(space(8, 32), seeds=1))) == []


def test_the_leaders_are_those_that_the_sampler_expects_to_be_best(monkeypatch: pytest.MonkeyPatch) -> None:
    def large_ones_are_unlucky(_: Proposals) -> dict[Setting, float]:
        rates = (0.001 * (size / 32) ** 0.5 for size in (8, 32, 128))
        return {Setting(size, rate): float(size) for size, rate in zip((8, 32, 128), rates, strict=True)}

    monkeypatch.setattr(Proposals, "expected", large_ones_are_unlucky)
    where = space(8, 32, 128, rate=LearningRate.choices(0.0005, 0.001, 0.002))
    records = run_out(plan(where, leaders=2), {8: 0.9, 32: 0.8, 128: 0.7})
    assert confirmed(records) == [(128, 1), (32, 1), (128, 2), (32, 2)]


def test_a_resumed_confirmation_goes_on_with_the_settings_it_began_with() -> None:
    begun = [Setting(8, 0.001), Setting(32, 0.001)]
    searched = [ended(Trial(begun[0], 0), score=0.1), ended(Trial(begun[1], 0), score=0.2)]
    better = ended(Trial(Setting(8, 0.002), 0), score=0.9)
    records = records_of([*searched, better, ended(Trial(begun[0], 1, "confirm"))])
    found = plan(space(8, 32), proposals=3, leaders=1).next(records)
    assert isinstance(found, Trial)
    assert (found.setting, found.seed) == (begun[0], 2)


def test_a_setting_that_is_proposed_again_gets_a_seed_that_no_confirmation_uses() -> None:
    class Same(optuna.samplers.RandomSampler):
        def sample_independent(self, *_: object) -> float:
            return 0.0

    staged = plan(space(8, 32), proposals=3, sampler=lambda *_: Same())
    records = records_of()
    for _ in range(3):
        planned = staged.next(records)
        assert isinstance(planned, Trial)
        records.put(ended(add(records, planned)))
    assert [(trial.batch_size, trial.seed) for trial in records] == [(8, 0), (8, 3), (8, 4)]


def test_a_finite_space_ends_when_everything_has_been_tried() -> None:
    records = run_out(plan(space(8, 32, rate=LearningRate.choices(0.1)), proposals=9, seeds=1))
    assert sorted(trial.batch_size for trial in records) == [8, 32]


def test_sizes_that_memory_rules_out_count_as_tried() -> None:
    staged, records = plan(space(8, 32, 128, rate=LearningRate.choices(0.1)), proposals=9, seeds=1), records_of()
    records.put(ended(add(records, Trial(Setting(8, 0.1), 0)), Status.OUT_OF_MEMORY))
    assert staged.next(records) is Pause.DONE


def test_confirmation_waits_for_running_trials() -> None:
    staged, records = plan(space(8), proposals=1), records_of()
    running = add(records, Trial(Setting(8, 0.0005), 0))
    assert staged.next(records) is Pause.WAIT
    records.put(ended(running))
    assert isinstance(staged.next(records), Trial)


def test_an_interrupted_proposal_is_not_counted_twice() -> None:
    staged, records = plan(space(8, 32, 128), proposals=2, seeds=1), records_of()
    first = staged.next(records)
    assert isinstance(first, Trial)
    records.put(ended(add(records, first), Status.INTERRUPTED))
    again = records.interrupted_to_rerun()
    assert again is not None
    records.put(ended(add(records, again)))
    run_out(staged, records=records)
    assert len([trial for trial in records if trial.is_settled]) == 2


def test_what_was_interrupted_is_new_again_until_it_runs_again() -> None:
    asked: list[Callable[[Setting], bool]] = []

    def sampler(encoding: Encoding, is_acceptable: Callable[[Setting], bool]) -> optuna.samplers.BaseSampler:
        asked.append(is_acceptable)
        return by_chance(encoding, is_acceptable)

    staged, records = plan(space(8, 32, 128), sampler=sampler), records_of()
    planned = staged.next(records)
    assert isinstance(planned, Trial)
    running = add(records, planned)
    staged.next(records)
    assert not asked[0](planned.setting)
    records.put(ended(running, Status.INTERRUPTED))
    staged.next(records)
    assert asked[0](planned.setting)
