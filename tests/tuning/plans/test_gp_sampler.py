"""What a Gaussian process proposes: where it starts, where it goes, and where it never goes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import keras_tuner
import pytest
from study_helpers import add, ended, records_of, with_curve

from search_spaces import BatchSize, LearningRate, SearchSpace, Setting
from search_spaces.entry import entries_of
from tuning.instructions import Budget
from tuning.objective import Objective
from tuning.plans.bayes import BayesianBudget, BayesianPlan
from tuning.plans.gp_sampler import GaussianProcessSampler
from tuning.plans.samplers import Proposals
from tuning.study.encoding import Encoding
from tuning.trial import Status, Trial

Ending = tuple[Status, float | None]
SPACE = SearchSpace(BatchSize(4, 256), LearningRate(), optimizer="Adam", model_rate=0.001)


class Search:
    """Records and a plan, whose trials end as a function of their setting says."""

    def __init__(
        self,
        space: SearchSpace,
        ending: Callable[[Setting], Ending],
        *,
        budget: int = 20,
        limit: int | None = None,
        start: int | None = None,
        seconds: Callable[[Setting], float] = lambda _: 1.0,
    ) -> None:
        objective = Objective("val_accuracy")
        self.records = records_of()
        self.plan = BayesianPlan(
            space,
            budget=BayesianBudget(budget, 1, Budget(1)),
            objective=objective,
            make_sampler=lambda encoding, _: GaussianProcessSampler(
                encoding, budget=budget, objective=objective, seed=0, largest_fitting=limit, start_batch_size=start
            ),
            largest_fitting=limit,
        )
        self._ending, self._seconds = ending, seconds

    def start(self) -> Trial:
        planned = self.plan.next(self.records)
        assert isinstance(planned, Trial)
        return add(self.records, planned)

    def end(self, trial: Trial) -> None:
        status, score = self._ending(trial.setting)
        done = ended(trial, status, score, seconds=self._seconds(trial.setting))
        self.records.put(replace(done, score=score))

    def run(self, trials: int) -> list[Setting]:
        for _ in range(trials):
            self.end(self.start())
        return [trial.setting for trial in self.records]


def flat(setting: Setting) -> Ending:
    return Status.COMPLETED, 0.5


def test_the_first_trials_are_the_middle_and_then_both_ends() -> None:
    first = Search(SPACE, flat).run(3)
    assert [setting.batch_size for setting in first] == [32, 256, 4]
    assert first[0].learning_rate == pytest.approx(0.001)  # the rule's centre at 32


@pytest.mark.parametrize(("start", "second"), [(100, 128), (90, 64), (1, 4), (5_000, 256)])
def test_a_batch_size_to_start_with_comes_second_as_the_nearest_of_the_space(start: int, second: int) -> None:
    first = Search(SPACE, flat, start=start).run(2)
    assert [setting.batch_size for setting in first] == [32, second]
    assert first[1].learning_rate == pytest.approx(0.001 * math.sqrt(second / 32))  # the rule's centre there


def test_a_probes_limit_is_never_exceeded() -> None:
    assert max(setting.batch_size for setting in Search(SPACE, flat, limit=64).run(12)) == 64


def test_a_failure_for_memory_is_the_last_at_its_size_or_above() -> None:
    def wall(setting: Setting) -> Ending:
        if setting.batch_size >= 64:
            return Status.OUT_OF_MEMORY, None
        return Status.COMPLETED, setting.batch_size / 100

    settings = Search(SPACE, wall).run(15)
    lost = [setting.batch_size for setting in settings if setting.batch_size >= 64]
    assert lost == sorted(set(lost), reverse=True)
    assert 32 in [setting.batch_size for setting in settings]


def test_a_search_in_which_everything_fails_goes_on() -> None:
    settings = Search(SPACE, lambda _: (Status.DIVERGED, None)).run(8)
    assert len(set(settings)) == 8


def test_parallel_trials_are_distinct() -> None:
    search = Search(SPACE, lambda setting: (Status.COMPLETED, -abs(setting.batch_size - 32) / 100))
    search.run(6)
    for _ in range(4):
        search.start()
    settings = [trial.setting for trial in search.records]
    assert len(set(settings[-4:])) == 4


def test_dear_trials_wait_until_their_cost_is_small_beside_what_was_spent() -> None:
    def seconds(setting: Setting) -> float:
        return 2560 / setting.batch_size

    after_the_start = [seconds(setting) for setting in Search(SPACE, flat, seconds=seconds).run(10)[3:]]
    where_all_cost_the_same = [seconds(setting) for setting in Search(SPACE, flat).run(10)[3:]]
    assert 2 * sum(after_the_start) < sum(where_all_cost_the_same)


def test_a_resumed_study_is_learnt_from() -> None:
    def good_at_eight(setting: Setting) -> Ending:
        return Status.COMPLETED, -abs(math.log2(setting.batch_size / 8))

    search = Search(SPACE, good_at_eight)
    search.run(10)
    again = Search(SPACE, good_at_eight)
    for trial in search.records:
        again.records.put(trial)
    nearby = [setting.batch_size in (4, 8, 16) for setting in again.run(3)[-3:]]
    assert sum(nearby) >= 2  # of three, one may explore


def test_conditional_hyperparameters_come_with_the_proposal() -> None:
    hp = keras_tuner.HyperParameters()
    hp.Choice("kind", ["mlp", "cnn"])
    with hp.conditional_scope("kind", ["cnn"]):
        hp.Int("filters", 8, 32, step=8)
    space = SearchSpace(BatchSize(4, 16), LearningRate(), model_rate=0.001, entries=entries_of(hp.space))

    def best_with_many_filters(setting: Setting) -> Ending:
        return Status.COMPLETED, float(dict(setting.hyperparameters).get("filters", 0)) / 32

    chosen = [dict(setting.hyperparameters) for setting in Search(space, best_with_many_filters).run(16)]
    assert all(("filters" in values) == (values["kind"] == "cnn") for values in chosen)
    assert sum(values.get("filters") == 32 for values in chosen[8:]) >= 3


@pytest.mark.parametrize("score", [float("inf"), float("-inf"), float("nan")])
def test_a_score_that_is_no_number_does_not_end_the_search(score: float) -> None:
    def sometimes(setting: Setting) -> Ending:
        if setting.batch_size == 256:
            return Status.DIVERGED, score
        return Status.COMPLETED, 0.5

    assert len(Search(SPACE, sometimes).run(9)) == 9


def test_a_stopped_trial_is_expected_to_end_as_those_did_that_stood_like_it() -> None:
    encoding, objective = Encoding(SPACE, search_rates=True), Objective("val_accuracy")
    sampler = GaussianProcessSampler(encoding, budget=20, objective=objective, seed=0)
    proposals = Proposals(sampler, encoding, objective)
    early = [0.10, 0.12, 0.14, 0.16, 0.18, 0.20, 0.17]  # from where all rise by 0.5
    settings = []
    for number, score in enumerate(early):
        trial = Trial(proposals.propose(), 0, budget=Budget(9), trial_id=f"{number:04d}")
        settings.append(trial.setting)
        is_last = number == len(early) - 1
        curve = [score] if is_last else [score + 0.5 * epoch / 8 for epoch in range(9)]
        proposals.follow(trial)
        proposals.follow(ended(with_curve(trial, curve), Status.PRUNED if is_last else Status.COMPLETED, curve[-1]))
    expected = proposals.expected()
    below = [setting for setting in settings if expected[setting] < expected[settings[-1]]]
    assert len(below) > 2  # its score at the rung is below the final ones of all


@pytest.mark.parametrize("scores", [[], [0.3], [float("inf")]])
def test_a_pruned_trial_does_not_end_the_search_whatever_it_reported(scores: list[float]) -> None:
    search = Search(SPACE, flat)
    search.records.put(ended(with_curve(search.start(), scores), Status.PRUNED))
    search.run(5)  # six trials end the design; then a fit needs the value
    assert len(search.records) == 6
