"""The staged plan on a trainer in closed form: what it tries, what it finds, and that it can be killed anywhere."""

from __future__ import annotations

import dataclasses
import itertools
import math

import pytest
from simulation import (
    EPOCHS,
    MACHINE,
    N_TRAIN,
    TIMINGS,
    Trainer,
    decide,
    goal,
    noise,
    plan,
    reference_in,
    run_out,
    settings_of,
    sizes_in,
    space,
    state_of,
    timed,
)
from study_helpers import add, ended, records_of

from search_spaces import BatchSize, LearningRate, Setting
from tuning.machine.machine import Machine
from tuning.machine.memory import MemoryFindings
from tuning.machine.memory_ladder import Tried
from tuning.machine.threads import ThreadChoice
from tuning.objective import Objective
from tuning.plans.halving import group_of
from tuning.plans.plan import MeasureNoise, Pause, ShareOut, TimeUpdates
from tuning.plans.staged.plan import StagedPlan
from tuning.plans.staged.reference import Reference
from tuning.plans.staged.stages import settings_to_confirm
from tuning.run.memory_limit import MemoryLimit
from tuning.stats.recommendation import recommend
from tuning.stats.target import Timings
from tuning.study.records import Records
from tuning.trial import Status, Trial, finished_trial


def test_a_study_goes_through_the_stages_in_order() -> None:
    records = run_out(plan(), Trainer(best_rate=1.41e-3))
    stages = [stage for stage, _ in itertools.groupby(record.stage for record in records)]
    assert stages == ["reference", "search", "confirm"]
    assert {s.batch_size for s in settings_of(records, "reference")} == {64}
    assert len(settings_of(records, "reference")) == 5 + 4
    assert {s.batch_size for s in settings_of(records, "confirm")} == {16, 32, 64, 128, 256, 512}
    searched = settings_of(records, "search")
    rates = {size: sorted(s.learning_rate for s in searched if s.batch_size == size) for size in sizes_in(records)}
    assert {len(some) for size, some in rates.items() if size != 64} == {3, 5}  # those in the race try two in between


def test_every_batch_size_is_confirmed_on_the_same_fresh_seeds_at_one_setting() -> None:
    records = [record for record in run_out(plan(seeds=3), Trainer()) if record.stage == "confirm"]
    by_size: dict[int, list[Trial]] = {}
    for record in records:
        by_size.setdefault(record.batch_size, []).append(record)
    for trials in by_size.values():
        assert [record.seed for record in trials] == [3, 4, 5, 6, 7][: len(trials)]
        assert len({record.setting for record in trials}) == 1
    balanced = run_out(plan(rule="balanced"), Trainer())
    assert all(record.reports[-1].epoch >= EPOCHS for record in balanced if record.stage == "confirm")


def test_the_recommendation_is_near_the_best_of_the_known_truth() -> None:
    trainer, staged = Trainer(), plan()
    records = run_out(staged, trainer)
    reference = reference_in(records)
    found = recommend(
        list(records),
        objective=Objective("val_accuracy"),
        target=reference.target,
        throughput=TIMINGS.examples_per_second(sizes_in(records)),
    )
    true_seconds = {b: (1 + b / trainer.critical) * TIMINGS.seconds(b) / b for b in sizes_in(records)}
    assert true_seconds[found.batch_size] <= 1.15 * min(true_seconds.values())


def test_a_best_rate_beyond_the_ladder_is_found_by_moving_outward() -> None:
    staged = plan()
    records = run_out(staged, Trainer(best_rate=0.3))
    reference = reference_in(records)
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
    reference = reference_in(records)
    assert reference.learning_rate == 0.00141


def test_moving_outward_ends_after_four_rates() -> None:
    staged = plan()
    records = run_out(staged, Trainer(best_rate=1e6))
    assert len(settings_of(records, "reference")) == 5 + 4 + 4
    searched = settings_of(records, "search")
    assert all(len([s for s in searched if s.batch_size == size]) <= 3 + 4 + 2 for size in (16, 512))


def test_sizes_in_the_race_try_the_rates_half_a_step_from_their_best() -> None:
    trainer = Trainer(best_rate=1.41e-3 * 1.6, noise=0.0)
    records = run_out(plan(), trainer)
    tried = [trial for trial in records if trial.stage in ("reference", "search")]
    seconds = {}
    for size in sizes_in(records):
        window = [t.learning_rate for t in tried if t.batch_size == size][:3]
        seconds[size] = min(
            trainer.examples(size, rate / trainer.best_rate_at(size), 0) / size * TIMINGS.seconds(size)
            for rate in window
        )
    for size in sizes_in(records):
        rates = [t.learning_rate for t in tried if t.batch_size == size and t.seed == 0]
        halves = [r for r in rates if abs(math.log(r / rates[0]) / math.log(3) % 1 - 0.5) < 0.2]
        ratio = seconds[size] / min(seconds.values())
        assert len(halves) == 2 if ratio < 1.4 else not halves or ratio < 1.6
    taken = {s.batch_size: s.learning_rate for s in settings_of(records, "confirm")}
    soonest = min(seconds, key=lambda size: seconds[size])
    assert abs(math.log(taken[soonest] / trainer.best_rate_at(soonest))) < 0.3  # a step of 3 alone leaves up to 0.55


def test_a_diverged_neighbour_counts_as_worse() -> None:
    staged = plan()
    records = run_out(staged, Trainer(best_rate=1e-3, diverges_above=2.0))
    diverged = [record for record in records if record.status is Status.DIVERGED]
    assert diverged
    assert all(record.stage != "confirm" for record in diverged)
    reference = reference_in(records)
    assert reference.learning_rate == pytest.approx(1e-3, rel=0.8)


def test_a_ladder_that_diverges_altogether_is_moved_down() -> None:
    staged = plan()
    run_out(staged, Trainer(best_rate=1e-6, diverges_above=2.0))
    records = run_out(staged, Trainer(best_rate=1e-5, diverges_above=2.0))
    reference = reference_in(records)
    assert reference.learning_rate is not None
    assert reference.learning_rate < 2e-5


def test_no_batch_size_runs_twice_where_memory_ran_out() -> None:
    records = run_out(plan(), Trainer(memory=128))
    lost = [record.batch_size for record in records if record.status is Status.OUT_OF_MEMORY]
    assert lost == sorted(lost, reverse=True)
    assert len(lost) == len(set(lost)) <= 2
    assert {s.batch_size for s in settings_of(records, "confirm")} == {16, 32, 64, 128}


def test_the_reference_moves_down_where_even_it_has_no_memory() -> None:
    staged = plan()
    records = run_out(staged, Trainer(memory=16))
    reference = reference_in(records)
    assert reference.batch_size == 16


def test_a_measured_limit_is_never_exceeded() -> None:
    probed = MemoryFindings((Tried(100, fits=True, peak_bytes=1),), MemoryLimit(1, "test"), 0.1, 1000, "keras")
    records = records_of(machine=dataclasses.replace(MACHINE, memory=probed))
    assert max(record.batch_size for record in run_out(plan(), Trainer(), records)) == 64


def test_sizes_that_the_user_named_are_all_searched() -> None:
    records = run_out(plan(BatchSize.of(3, 50, 200), all_sizes=True), Trainer())
    assert {record.batch_size for record in records} == {3, 50, 200}


def test_a_target_ends_the_reference_and_is_the_goal_of_the_search() -> None:
    staged = plan(target=0.8)
    records = run_out(staged, Trainer())
    reference = reference_in(records, target=0.8)
    assert reference.target == 0.8
    best = next(r for r in records if r.learning_rate == reference.learning_rate)
    assert best.reports[-1].metrics["val_accuracy"] >= 0.8
    assert all(record.budget and record.budget.goal and record.budget.goal.value == 0.8 for record in records)


def test_a_target_out_of_reach_still_ends_with_confirmed_batch_sizes() -> None:
    records = run_out(plan(target=2.0), Trainer())
    assert {record.stage for record in records} == {"reference", "search", "confirm"}


def test_a_schedule_leaves_one_training_per_batch_size_and_seed() -> None:
    staged = StagedPlan(space(rate=None), goal())
    records = run_out(staged, Trainer())
    assert len(settings_of(records, "reference")) == 1 + 2
    assert len(settings_of(records, "search")) == 5


def test_rates_that_the_user_named_are_tried_everywhere_and_no_others() -> None:
    staged = StagedPlan(space(rate=LearningRate.choices(1e-4, 1e-3)), goal())
    assert {record.learning_rate for record in run_out(staged, Trainer())} == {1e-4, 1e-3}


def test_without_a_measured_noise_scale_a_guess_plans_the_search() -> None:
    records = records_of(machine=dataclasses.replace(MACHINE, noise=noise(None, reason="refused")))
    run_out(plan(), Trainer(), records)
    assert {record.stage for record in records} == {"reference", "search", "confirm"}


def test_updates_are_timed_before_the_first_trial_and_noise_is_measured_after_the_reference() -> None:
    staged, records = plan(), records_of()
    assert isinstance(staged.next(records), TimeUpdates)
    records.machine = Machine(memory_is_known=True, throughput=timed())
    while isinstance(planned := staged.next(records), Trial):
        records.put(Trainer().run(add(records, planned)))
    assert {record.stage for record in records} == {"reference"}
    reference = reference_in(records)
    assert planned == MeasureNoise(reference.batch_size, reference.learning_rate, 0, reference.examples)


def test_the_sizes_that_were_tried_are_timed_again_at_the_end() -> None:
    staged, records = plan(), records_of(machine=MACHINE)
    while not isinstance(found := staged.next(records), TimeUpdates):
        assert isinstance(found, Trial)
        records.put(Trainer().run(add(records, found)))
    assert found == TimeUpdates(sizes_in(records), again=True)


def test_the_answer_is_judged_by_the_target_and_the_lesser_timings() -> None:
    records = run_out(plan(), Trainer())
    found = plan().judgement(records)
    assert found.target == reference_in(records).target
    assert found.throughput == TIMINGS.examples_per_second(sorted({record.batch_size for record in records}))
    assert any("reached on 3 seeds" in note for note in found.notes)


def test_trainings_that_all_fail_end_the_search() -> None:
    staged, records = plan(), records_of(machine=MACHINE)
    while isinstance(planned := staged.next(records), Trial):
        records.put(ended(add(records, planned), Status.FAILED))
    assert len(records) == 5
    assert staged.total(records) == 5


@pytest.mark.parametrize(
    "trainer",
    [Trainer(), Trainer(best_rate=0.2, noise=0.3), Trainer(diverges_above=2.0, memory=128)],
    ids=["plain", "edges and noise", "divergence and memory"],
)
def test_a_driver_killed_at_any_point_goes_on_as_if_it_had_not_been(trainer: Trainer) -> None:
    whole = list(run_out(plan(), trainer))
    for kept, expected in enumerate(whole):
        planned = decide(plan(), records_of(whole[:kept], MACHINE))
        assert isinstance(planned, Trial)
        assert trainer.run(dataclasses.replace(planned, trial_id=expected.trial_id)) == expected
        killed = ended(planned, Status.INTERRUPTED)
        again = decide(plan(), records_of([*whole[:kept], killed], MACHINE))
        assert isinstance(again, Trial)
        assert again.key == planned.key


def run_on_two_devices(staged: StagedPlan, records: Records) -> list[tuple[Trial, ...]]:
    """Run a plan to its end, two trials at a time where it has two, and return what ran beside one another."""
    running: list[Trial] = []
    beside: list[tuple[Trial, ...]] = []
    while True:
        while len(running) < 2 and isinstance(planned := decide(staged, records), Trial):
            running.append(add(records, planned))
        if not running:
            return beside
        beside.append(tuple(running))
        records.put(Trainer().run(running.pop(len(beside) % len(running))))


def test_two_devices_never_run_a_trial_twice_and_wait_where_they_must() -> None:
    staged, records = plan(), records_of(machine=MACHINE)
    run_on_two_devices(staged, records)
    assert staged.next(records) is Pause.DONE
    keys = [record.key for record in records]
    assert len(keys) == len(set(keys))
    assert set(keys) == {record.key for record in run_out(plan(), Trainer())}


def test_beside_one_another_on_a_cpu_trials_of_a_group_run_in_turn_and_others_do_not_wait() -> None:
    records = records_of(machine=dataclasses.replace(MACHINE, workers=2))
    beside = run_on_two_devices(plan(), records)
    assert all(len({group_of(trial) for trial in trials}) == len(trials) for trials in beside)
    assert sum(len(trials) == 2 for trials in beside) > len(records) / 2
    serial = run_out(plan(), Trainer())
    assert [r.key for r in records if r.batch_size == 128] == [r.key for r in serial if r.batch_size == 128]
    assert {record.key for record in records} == {record.key for record in serial}


def test_without_halving_no_trial_waits_for_its_group() -> None:
    records = records_of(machine=dataclasses.replace(MACHINE, workers=2))
    first = run_on_two_devices(plan(halves=False), records)[0]
    assert len({group_of(trial) for trial in first}) == 1 < len(first)


def test_much_work_is_shared_out_before_the_first_trial_and_little_is_not() -> None:
    records, slow = records_of(machine=MACHINE), Timings(dict.fromkeys((1, 1024), 0.1))
    assert isinstance(plan(shares_out=True).next(records), Trial)
    records.machine = dataclasses.replace(MACHINE, throughput=timed(slow))
    staged = plan(shares_out=True)
    wish = staged.next(records)
    assert isinstance(wish, ShareOut)
    assert wish.batch_size == reference_in(run_out(plan(), Trainer())).batch_size
    assert wish.updates > 1000
    records.machine = dataclasses.replace(records.machine, threads=ThreadChoice())  # it has been found out
    assert isinstance(staged.next(records), Trial)


def test_a_plan_waits_while_what_comes_next_depends_on_trials_that_run() -> None:
    staged, records = plan(), records_of(machine=MACHINE)
    for _ in range(5):
        trial = decide(staged, records)
        assert isinstance(trial, Trial)
        add(records, trial)
    assert staged.next(records) is Pause.WAIT


def test_the_total_is_honest_at_every_moment() -> None:
    staged = plan()
    totals: list[int] = []
    first = records_of(machine=MACHINE)
    staged.next(first)
    assert staged.total(first) == 5 + 4 + 5 * 3 + 6 * 2
    records = run_out(staged, Trainer(), after=lambda records: totals.append(staged.total(records)))
    assert all(total >= number for number, total in enumerate(totals, start=1))
    assert totals[-1] == len(records)
    assert math.isclose(totals[9], len(records), rel_tol=0.35)


def test_the_search_begins_near_the_forecast() -> None:
    first = [setting.batch_size for setting in settings_of(run_out(plan(), Trainer()), "search")[:5]]
    assert first == [128, 256, 32, 512, 16]  # the forecast is 100, and 64 is the reference


def test_sizes_that_missed_the_target_in_the_search_are_not_confirmed_beside_those_that_reached_it() -> None:
    slow_beyond_a_few = Trainer(critical=8.0)
    records = run_out(
        plan(seeds=2), slow_beyond_a_few, records_of(machine=dataclasses.replace(MACHINE, noise=noise(1000.0)))
    )
    target = reference_in(records).target
    reached = {
        trial.batch_size for trial in records if trial.stage != "confirm" and trial.score and trial.score >= target
    }
    searched = {setting.batch_size for setting in settings_of(records, "search")}
    assert {256, 512, 1024} <= searched - reached
    assert {setting.batch_size for setting in settings_of(records, "confirm")} == {32, 64, 128} <= reached


def test_further_seeds_are_for_those_that_may_still_be_the_best() -> None:
    records = run_out(plan(seeds=3), Trainer(noise=0.3))
    sizes = [setting.batch_size for setting in settings_of(records, "confirm")]
    seeds = {size: sizes.count(size) for size in set(sizes)}
    assert min(seeds.values()) == 1
    assert max(seeds.values()) == 5
    in_race = [size for size, count in seeds.items() if count > 2]
    assert {64, 128} <= set(in_race)
    assert 512 not in in_race  # in truth it takes 2.5 times the least
    blocks = {seed: {t.batch_size for t in records if (t.stage, t.seed) == ("confirm", seed)} for seed in range(3, 8)}
    assert all(len(block) >= 2 for block in blocks.values())  # a seed alone could not be told from its luck


def test_a_race_that_is_won_gets_no_further_seeds() -> None:
    records = run_out(plan(seeds=3, tolerance_loss=0.2), Trainer(noise=0.01))
    assert {trial.seed for trial in records if trial.stage == "confirm"} == {3, 4}


def test_with_a_target_of_the_user_the_reference_rate_is_the_one_that_got_there_first() -> None:
    records = run_out(plan(target=0.9), Trainer(best_rate=1.1e-3))
    tried = [trial for trial in records if trial.stage == "reference" and trial.score and trial.score >= 0.9]
    first = min(tried, key=lambda trial: trial.examples_seen)
    luckiest = max(tried, key=lambda trial: trial.score or 0.0)
    assert first.learning_rate != luckiest.learning_rate
    assert reference_in(records, target=0.9).learning_rate == first.learning_rate


@pytest.mark.parametrize("best", [5e-4, 1e-3, 2e-3])
def test_a_size_that_never_reached_the_target_is_judged_by_its_final_scores(best: float) -> None:
    trials = [
        finished_trial(256, 0, score, learning_rate=rate, curve=[(N_TRAIN * EPOCHS, score)])
        for rate in (5e-4, 1e-3, 2e-3)
        for score in [0.8 if rate == best else 0.3]
    ]
    assert state_of(records_of(trials, MACHINE)).best(0.95, "search")[256].learning_rate == best


def test_a_batch_size_that_is_added_leaves_the_reference_and_what_was_confirmed_as_they_were() -> None:
    before = BatchSize.of(256, 512)
    records = run_out(plan(before, all_sizes=True), Trainer())
    n_before = len(records)
    run_out(plan(BatchSize.of(64, 256, 512), all_sizes=True), Trainer(), records)
    further = list(records)[n_before:]
    assert {trial.batch_size for trial in further} == {64}  # nearer to the knee, and yet no reference
    assert {trial.stage for trial in further} == {"search", "confirm"}


def test_a_batch_size_keeps_the_rate_that_it_was_confirmed_at_until_further_ones_were_tried() -> None:
    records = records_of(machine=MACHINE)

    def tried(stage: str, size: int, rate: float, score: float, seed: int = 0) -> None:
        add(records, ended(Trial(Setting(size, rate), seed, stage), score=score))

    for rate, score in ((0.1, 0.8), (0.01, 0.9)):
        tried("search", 64, rate, score)
        tried("search", 128, rate, score)
    tried("confirm", 64, 0.1, 0.8, seed=3)
    tried("confirm", 128, 0.1, 0.8, seed=3)
    assert state_of(records).confirmed == {64: Setting(64, 0.1), 128: Setting(128, 0.1)}
    reference = Reference(64, 0.01, 0.95, 1000.0)
    assert settings_to_confirm(state_of(records), reference)[64] == Setting(64, 0.1)
    tried("search", 64, 0.001, 0.85)
    assert state_of(records).confirmed == {128: Setting(128, 0.1)}
    assert settings_to_confirm(state_of(records), reference)[64] == Setting(64, 0.01)
