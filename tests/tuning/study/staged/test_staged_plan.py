"""The staged plan on a trainer in closed form: what it tries, what it finds, and that it can be killed anywhere."""

from __future__ import annotations

import dataclasses
import itertools
import math

import optuna
import pytest
from simulation import EPOCHS, TIMINGS, Trainer, decide, ended, plan, question, run_out, settings_of, space, started

from search_spaces import BatchSize, LearningRate
from tuning.machine.facts import MachineFacts, NoiseFacts
from tuning.stats.recommendation import recommend
from tuning.study.plans import Pause, Planned
from tuning.study.records import TrialRecord, read_record
from tuning.study.staged.plan import StagedPlan
from tuning.trial import Status, TrialOutcome


def test_a_study_goes_through_the_stages_in_order() -> None:
    records = run_out(plan(), Trainer(best_rate=1.41e-3))
    stages = [stage for stage, _ in itertools.groupby(record.stage for record in records)]
    assert stages == ["reference", "search", "confirm"]
    assert {s.batch_size for s in settings_of(records, "reference")} == {64}
    assert len(settings_of(records, "reference")) == 5 + 4
    assert {s.batch_size for s in settings_of(records, "confirm")} == {16, 32, 64, 128, 256, 512}
    assert len(settings_of(records, "search")) == 5 * 3


def test_every_batch_size_is_confirmed_on_the_same_fresh_seeds_at_one_setting() -> None:
    records = [record for record in run_out(plan(seeds=3), Trainer()) if record.stage == "confirm"]
    by_size: dict[int, list[TrialRecord]] = {}
    for record in records:
        by_size.setdefault(record.setting.batch_size, []).append(record)
    for trials in by_size.values():
        assert [record.seed for record in trials][:3] == [3, 4, 5]
        assert len({record.setting for record in trials}) == 1
        assert all(record.epochs[-1].epoch >= EPOCHS for record in trials)


def test_the_recommendation_is_near_the_best_of_the_known_truth() -> None:
    trainer, staged = Trainer(), plan()
    records = run_out(staged, trainer)
    reference = staged.reference(records)
    assert reference is not None
    found = recommend(
        [record.result("val_accuracy") for record in records],
        maximize=True,
        target=reference.target,
        throughput=TIMINGS.examples_per_second(staged.sizes(records)),
    )
    true_seconds = {b: (1 + b / trainer.critical) * TIMINGS.seconds(b) / b for b in staged.sizes(records)}
    assert true_seconds[found.batch_size] <= 1.15 * min(true_seconds.values())


def test_a_best_rate_beyond_the_ladder_is_found_by_moving_outward() -> None:
    staged = plan()
    records = run_out(staged, Trainer(best_rate=0.3))
    reference = staged.reference(records)
    assert reference is not None
    assert reference.learning_rate == pytest.approx(0.3, rel=0.8)
    assert len(settings_of(records, "reference")) > 5 + 4


class LuckyTrainer(Trainer):
    """At thrice the best rate the first seed is quick, and the others are slow."""

    def examples(self, batch_size: int, off: float, seed: int) -> float:
        luck = 1.0 if not 2 < off < 4 else 0.5 if seed == 0 else 3.0
        return luck * 3000 * (1 + batch_size / self.critical) * (1 if 2 < off < 4 else 1 + abs(math.log(off)))


def test_a_rate_that_was_lucky_by_one_seed_does_not_set_the_target() -> None:
    staged = plan()
    records = run_out(staged, LuckyTrainer(best_rate=1.41e-3))
    first = [record for record in records if record.stage == "reference" and record.seed == 0]
    assert max(first, key=lambda record: record.score or 0.0).setting.learning_rate == 0.00424
    reference = staged.reference(records)
    assert reference is not None
    assert reference.learning_rate == 0.00141


def test_moving_outward_ends_after_four_rates() -> None:
    staged = plan()
    records = run_out(staged, Trainer(best_rate=1e6))
    assert len(settings_of(records, "reference")) == 5 + 4 + 4
    searched = settings_of(records, "search")
    assert all(len([s for s in searched if s.batch_size == size]) <= 3 + 4 for size in (16, 512))


def test_a_diverged_neighbour_counts_as_worse() -> None:
    staged = plan()
    records = run_out(staged, Trainer(best_rate=1e-3, diverges_above=2.0))
    diverged = [record for record in records if record.status is Status.DIVERGED]
    assert diverged
    assert all(record.stage != "confirm" for record in diverged)
    reference = staged.reference(records)
    assert reference is not None
    assert reference.learning_rate == pytest.approx(1e-3, rel=0.8)


def test_a_ladder_that_diverges_altogether_is_moved_down() -> None:
    staged = plan()
    run_out(staged, Trainer(best_rate=1e-6, diverges_above=2.0))
    records = run_out(staged, Trainer(best_rate=1e-5, diverges_above=2.0))
    reference = staged.reference(records)
    assert reference is not None
    assert reference.learning_rate is not None
    assert reference.learning_rate < 2e-5


def test_no_batch_size_runs_twice_where_memory_ran_out() -> None:
    records = run_out(plan(), Trainer(memory=128))
    lost = [record.setting.batch_size for record in records if record.status is Status.OUT_OF_MEMORY]
    assert lost == sorted(lost, reverse=True)
    assert len(lost) == len(set(lost)) <= 2
    assert {s.batch_size for s in settings_of(records, "confirm")} == {16, 32, 64, 128}


def test_the_reference_moves_down_where_even_it_has_no_memory() -> None:
    staged = plan()
    records = run_out(staged, Trainer(memory=16))
    reference = staged.reference(records)
    assert reference is not None
    assert reference.batch_size == 16


def test_a_measured_limit_is_never_exceeded() -> None:
    staged = plan()
    staged.learn(machine=MachineFacts(100, TIMINGS, TIMINGS))
    assert max(record.setting.batch_size for record in run_out(staged, Trainer())) == 64


def test_sizes_that_the_user_named_are_all_searched() -> None:
    records = run_out(plan(BatchSize.of(3, 50, 200), all_sizes=True), Trainer())
    assert {record.setting.batch_size for record in records} == {3, 50, 200}


def test_a_target_ends_the_reference_and_is_the_goal_of_the_search() -> None:
    staged = plan(target=0.8)
    records = run_out(staged, Trainer())
    reference = staged.reference(records)
    assert reference is not None
    assert reference.target == 0.8
    best = next(r for r in records if r.setting.learning_rate == reference.learning_rate)
    assert best.epochs[-1].metrics["val_accuracy"] >= 0.8
    assert all(record.budget and record.budget.goal and record.budget.goal.value == 0.8 for record in records)


def test_a_target_out_of_reach_still_ends_with_confirmed_batch_sizes() -> None:
    records = run_out(plan(target=2.0), Trainer())
    assert {record.stage for record in records} == {"reference", "search", "confirm"}


def test_a_schedule_leaves_one_training_per_batch_size_and_seed() -> None:
    staged = StagedPlan(space(rate=None), question())
    staged.learn(machine=MachineFacts(None, TIMINGS, TIMINGS), noise=NoiseFacts(100.0))
    records = run_out(staged, Trainer())
    assert len(settings_of(records, "reference")) == 1 + 2
    assert len(settings_of(records, "search")) == 5


def test_rates_that_the_user_named_are_tried_everywhere_and_no_others() -> None:
    staged = StagedPlan(space(rate=LearningRate.choices(1e-4, 1e-3)), question())
    staged.learn(machine=MachineFacts(None, TIMINGS, TIMINGS), noise=NoiseFacts(100.0))
    assert {record.setting.learning_rate for record in run_out(staged, Trainer())} == {1e-4, 1e-3}


def test_without_a_measured_noise_scale_a_guess_plans_the_search() -> None:
    staged = plan()
    staged.learn(noise=NoiseFacts(reason="refused"))
    assert {record.stage for record in run_out(staged, Trainer())} == {"reference", "search", "confirm"}


def test_nothing_starts_before_the_machine_is_known_and_nothing_after_the_reference_before_the_noise() -> None:
    staged = StagedPlan(space(), question())
    assert staged.decide([]) is Pause.DONE
    staged.learn(machine=MachineFacts(None, TIMINGS, TIMINGS))
    records = run_out(staged, Trainer())
    assert {record.stage for record in records} == {"reference"}
    assert staged.reference(records) is not None
    assert staged.sizes(records) == ()


def test_trainings_that_all_fail_end_the_search() -> None:
    staged, records = plan(), []
    while isinstance(planned := staged.decide(records), Planned):
        records.append(dataclasses.replace(started(planned, len(records)), outcome=TrialOutcome("t", Status.FAILED)))
    assert len(records) == 5
    assert staged.total(records) == 5


@pytest.mark.parametrize(
    "trainer",
    [Trainer(), Trainer(best_rate=0.2, noise=0.3), Trainer(diverges_above=2.0, memory=128)],
    ids=["plain", "edges and noise", "divergence and memory"],
)
def test_a_driver_killed_at_any_point_goes_on_as_if_it_had_not_been(trainer: Trainer) -> None:
    whole = run_out(plan(), trainer)
    for kept in range(len(whole)):
        planned = decide(plan(), whole[:kept])
        assert isinstance(planned, Planned)
        assert ended(planned, trainer, kept) == whole[kept]
        running = started(planned, kept)
        killed = dataclasses.replace(running, outcome=TrialOutcome("t", Status.INTERRUPTED))
        assert decide(plan(), [*whole[:kept], killed]) == planned


def test_two_devices_never_run_a_trial_twice_and_wait_where_they_must() -> None:
    staged, trainer = plan(), Trainer()
    records: list[TrialRecord] = []
    running: list[tuple[int, Planned]] = []
    while True:
        while len(running) < 2 and isinstance(planned := staged.decide(records), Planned):
            running.append((len(records), planned))
            records.append(started(planned, len(records)))
        if not running:
            break
        number, planned = running.pop(0)
        records[number] = ended(planned, trainer, number)
    assert staged.decide(records) is Pause.DONE
    keys = [(record.setting, record.seed, record.stage) for record in records]
    assert len(keys) == len(set(keys))
    assert set(keys) == {(r.setting, r.seed, r.stage) for r in run_out(plan(), trainer)}


def test_the_total_is_honest_at_every_moment() -> None:
    staged = plan()
    totals: list[int] = []
    records = run_out(staged, Trainer(), after=lambda records: totals.append(staged.total(records)))
    assert staged.total([]) == 5 + 4 + 5 * 3 + 6 * 3
    assert all(total >= number for number, total in enumerate(totals, start=1))
    assert totals[-1] == len(records)
    assert math.isclose(totals[9], len(records), rel_tol=0.35)


def test_what_is_planned_reaches_optuna_and_comes_back() -> None:
    staged, study = plan(), optuna.create_study(direction="maximize")
    trial = staged.next(study, [], "0000")
    assert not isinstance(trial, Pause)
    record = read_record(study.trials[trial.number])
    planned = staged.decide([])
    assert record is not None
    assert isinstance(planned, Planned)
    assert (record.setting, record.budget, record.stage) == (planned.setting, planned.budget, "reference")
    assert trial.params == {"batch_size": 64, "learning_rate": record.setting.learning_rate}
