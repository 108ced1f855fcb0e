"""The search from plan to tracker, on scripted trials."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from fakes import RecordingTracker, ScriptedExecutor, SilentDisplay, device, lost

from search_spaces import BatchSize, LearningRate, SearchSpace
from tuning.instructions import Budget
from tuning.objective import Objective
from tuning.plans import SAMPLERS
from tuning.plans.bayes import BayesianBudget, BayesianPlan
from tuning.plans.halving import Halving
from tuning.plans.plan import Decision, GridPlan, MeasureNoise, Pause, Plan, Wish
from tuning.plans.samplers import make_sampler
from tuning.run.executor import DeviceError
from tuning.search.delivery import relog
from tuning.search.loop import Deadline, SearchLoop
from tuning.study.records import Records
from tuning.study.storage import create_study, journal_of
from tuning.study.study import Study
from tuning.trial import Status, Trial, TrialOutcome

SPACE = SearchSpace(BatchSize.of(8, 32, 128), LearningRate(), optimizer="Adam", model_rate=0.001)
OBJECTIVE = Objective("val_accuracy")


def good(trial: Trial) -> list[float]:
    return [0.5, 1.0 / trial.batch_size]


def grid(seeds: int = 1, space: SearchSpace = SPACE, epochs: int = 2) -> GridPlan:
    return GridPlan(space, seeds, budget=Budget(epochs))


def bayes(space: SearchSpace, proposals: int, sampler: str, limit: int | None = None) -> BayesianPlan:
    return BayesianPlan(
        space,
        budget=BayesianBudget(proposals, 1, Budget(2)),
        objective=OBJECTIVE,
        make_sampler=lambda encoding, is_acceptable: make_sampler(
            sampler, encoding, is_acceptable, budget=proposals, objective=OBJECTIVE, seed=1, largest_fitting=limit
        ),
        largest_fitting=limit,
    )


def opened(directory: Path) -> Study:
    storage = journal_of(directory)
    create_study(storage, "study", objective=OBJECTIVE, settings={"a": "1"})
    study = Study("study")
    study.open(storage, OBJECTIVE)
    return study


class Assistant:
    """Leaves trials as they are, and keeps what it was asked to measure."""

    def __init__(self) -> None:
        self.wishes: list[Wish] = []

    def instruct(self, trial: Trial) -> Trial:
        return trial

    def measure(self, wish: Wish) -> None:
        self.wishes.append(wish)

    def trial_ended(self, trial: Trial) -> None:
        pass


def run(
    study: Study,
    plan: Plan,
    executor: ScriptedExecutor,
    tracker: RecordingTracker | None = None,
    deadline: Deadline | None = None,
    *,
    prunes: bool = False,
    **more: Any,
) -> Assistant:
    assistant = Assistant()
    halving = Halving(OBJECTIVE, n_train=1000, stops=prunes)
    tracker = tracker or RecordingTracker()
    given = {"assistant": assistant, "halving": halving, "deadline": deadline}
    SearchLoop(study, plan, executor, tracker, SilentDisplay(), **given, **more).run()
    return assistant


def statuses(study: Study) -> list[Status | None]:
    return [trial.status for trial in study.records]


def test_every_planned_trial_runs_once_and_is_recorded_everywhere(tmp_path: Path) -> None:
    study, tracker, executor = opened(tmp_path), RecordingTracker(), ScriptedExecutor(good)
    run(study, grid(seeds=2), executor, tracker)
    assert [(t.batch_size, t.seed) for t in executor.requests] == [(b, s) for s in (0, 1) for b in (8, 32, 128)]
    assert [trial.score for trial in study.records] == [1 / 8, 1 / 32, 1 / 128] * 2
    assert tracker.trials["0000"].values == {"batch_size": 8, "learning_rate": 0.0005}
    assert tracker.trials["0000"].budget.epochs == 2
    assert [len(epochs) for epochs in tracker.epochs.values()] == [2] * 6


def test_the_score_is_the_last_epoch_not_the_luckiest(tmp_path: Path) -> None:
    study = opened(tmp_path)
    run(study, grid(), ScriptedExecutor(lambda _: [0.9, 0.2]))
    assert {trial.score for trial in study.records} == {0.2}


def test_a_failure_is_data_and_the_search_goes_on(tmp_path: Path) -> None:
    def failing(trial: Trial) -> TrialOutcome | list[float]:
        found = {8: Status.FAILED, 32: Status.DIVERGED}.get(trial.batch_size)
        return [0.5] if found is None else TrialOutcome(trial.trial_id, found, reason="boom")

    study, tracker = opened(tmp_path), RecordingTracker()
    run(study, grid(seeds=4), ScriptedExecutor(failing), tracker)
    assert statuses(study) == [Status.FAILED, Status.DIVERGED, Status.COMPLETED] * 4
    assert tracker.outcomes["0000"].reason == "boom"


@pytest.mark.parametrize(
    ("exit_code", "retries", "works_after", "tries", "status"),
    [
        (None, 2, 1, 2, Status.COMPLETED),
        (None, 2, 9, 3, Status.FAILED),
        (None, 0, 1, 1, Status.FAILED),
        (-11, 0, 1, 2, Status.COMPLETED),  # a crash
        (-11, 0, 9, 2, Status.FAILED),
        (-6, 2, 9, 3, Status.FAILED),
        (3, 0, 1, 1, Status.FAILED),  # it ended by itself
    ],
)
def test_a_trial_that_failed_runs_again_as_often_as_was_asked_and_once_after_a_crash(
    exit_code: int | None, retries: int, works_after: int, tries: int, status: Status, tmp_path: Path
) -> None:
    study, executor = opened(tmp_path), ScriptedExecutor(lambda trial: script(trial))

    def script(trial: Trial) -> TrialOutcome | list[float]:
        done = sum(request.batch_size == 8 for request in executor.requests) - 1
        if trial.batch_size != 8 or done >= works_after:
            return [0.5]
        return TrialOutcome(trial.trial_id, Status.FAILED, reason="boom", exit_code=exit_code)

    run(study, grid(), executor, retries=retries)
    assert sum(request.batch_size == 8 for request in executor.requests) == tries
    (last,) = [trial.status for trial in study.records if trial.batch_size == 8 and trial.is_settled]
    assert last is status


@pytest.mark.parametrize(("status", "exit_code", "tries"), [(Status.LOST, -9, 4), (Status.FAILED, -11, 2)])
def test_a_training_that_is_killed_or_crashes_each_time_is_one_failure_with_its_exit_code_and_log(
    status: Status, exit_code: int, tries: int, tmp_path: Path
) -> None:
    def dies(trial: Trial) -> TrialOutcome | list[float]:
        return TrialOutcome(trial.trial_id, status, reason="it died", log_tail="its last words", exit_code=exit_code)

    study = opened(tmp_path)
    run(study, grid(), ScriptedExecutor(lambda trial: dies(trial) if trial.batch_size == 8 else [0.5]))
    *lost, last = [trial.outcome for trial in study.records if trial.batch_size == 8]
    assert last is not None
    assert (last.status, last.exit_code, last.log_tail) == (Status.FAILED, exit_code, "its last words")
    assert [outcome.status for outcome in lost if outcome is not None] == [Status.LOST] * (tries - 1)


def test_after_so_many_failures_in_a_row_no_trial_is_started(tmp_path: Path) -> None:
    def failing(trial: Trial) -> TrialOutcome | list[float]:
        return [0.5] if trial.trial_id == "0001" else TrialOutcome(trial.trial_id, Status.FAILED, reason="boom")

    study = opened(tmp_path)
    run(study, grid(seeds=4), ScriptedExecutor(failing), most_failures=2)
    assert statuses(study) == [Status.FAILED, Status.COMPLETED, Status.FAILED, Status.FAILED]


def test_two_devices_share_the_work_without_repeating_any(tmp_path: Path) -> None:
    executor = ScriptedExecutor(good, devices=("cpu:0", "cpu:1"))
    run(opened(tmp_path), grid(seeds=3), executor)
    assert len({(t.batch_size, t.seed) for t in executor.requests}) == len(executor.requests) == 9
    assert {device for _, device in executor.submitted} == {"cpu:0", "cpu:1"}


def test_every_trial_tells_the_kind_and_the_node_of_its_device_also_one_that_was_lost(tmp_path: Path) -> None:
    def lose_one(trial: Trial) -> list[float] | TrialOutcome:
        return lost(trial) if trial.trial_id == "0000" else good(trial)

    near, far = device("cpu:0", kind="Old 1", node="near"), device("cpu:1", kind="New 2", node="far")
    study, executor = opened(tmp_path), ScriptedExecutor(lose_one, devices=(near, far))
    run(study, grid(), executor)
    places = {"cpu:0": ("Old 1", "near"), "cpu:1": ("New 2", "far")}
    told = {
        trial.trial_id: (trial.outcome.settings["device_kind"], trial.outcome.settings["node"])
        for trial in study.records
        if trial.outcome is not None
    }
    assert told == {trial_id: places[name] for trial_id, name in executor.submitted}
    assert len(told) == 4


def test_a_device_that_joins_is_used(tmp_path: Path) -> None:
    def grows(trial: Trial) -> list[float]:
        if trial.trial_id == "0001":
            executor.join("cpu:9")
        return good(trial)

    executor = ScriptedExecutor(grows)
    run(opened(tmp_path), grid(seeds=3), executor)
    assert "cpu:9" in {device for _, device in executor.submitted}


def test_a_search_waits_while_every_device_is_gone(tmp_path: Path) -> None:
    def leaves(trial: Trial) -> list[float]:
        if trial.trial_id == "0001":
            executor.leave("cpu:0")
        return good(trial)

    executor = ScriptedExecutor(leaves, when_idle=lambda: executor.join("cpu:1"))
    study = opened(tmp_path)
    run(study, grid(), executor)
    assert statuses(study) == [Status.COMPLETED, Status.LOST, Status.COMPLETED, Status.COMPLETED]
    assert {trial.batch_size for trial in study.records if trial.scored} == {8, 32, 128}


def test_a_search_whose_devices_never_come_back_ends_in_one_line(tmp_path: Path) -> None:
    clock = iter(range(0, 100_000, 200))
    deadline = Deadline(now=lambda: float(next(clock)))
    with pytest.raises(DeviceError, match="needs a device"):
        run(opened(tmp_path), grid(), ScriptedExecutor(good, devices=()), deadline=deadline)


def test_a_lost_trial_runs_again_before_anything_new(tmp_path: Path) -> None:
    losses = iter([False, True])

    def unlucky(trial: Trial) -> TrialOutcome | list[float]:
        return lost(trial) if next(losses, False) else good(trial)

    study, executor = opened(tmp_path), ScriptedExecutor(unlucky)
    run(study, grid(), executor)
    assert [trial.batch_size for trial in executor.requests] == [8, 32, 32, 128]
    assert statuses(study) == [Status.COMPLETED, Status.LOST, Status.COMPLETED, Status.COMPLETED]


def test_a_trial_that_is_always_lost_has_failed_after_three_more_tries(tmp_path: Path) -> None:
    def unlucky(trial: Trial) -> TrialOutcome | list[float]:
        return lost(trial) if trial.batch_size == 32 else good(trial)

    study, tracker, executor = opened(tmp_path), RecordingTracker(), ScriptedExecutor(unlucky)
    run(study, grid(), executor, tracker)
    assert [trial.batch_size for trial in executor.requests] == [8, 32, 32, 32, 32, 128]
    assert tracker.outcomes["0004"].status is Status.FAILED
    assert "lost 4 times" in tracker.outcomes["0004"].reason


def test_ctrl_c_records_running_trials_and_the_search_resumes_them(tmp_path: Path) -> None:
    def interrupted(trial: Trial) -> list[float]:
        if trial.trial_id == "0002":
            raise KeyboardInterrupt
        return good(trial)

    executor, tracker, study = ScriptedExecutor(interrupted), RecordingTracker(), opened(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run(study, grid(), executor, tracker)
    assert executor.is_closed
    assert statuses(study) == [Status.COMPLETED, Status.COMPLETED, Status.INTERRUPTED]
    assert {outcome.status for outcome in tracker.outcomes.values()} == {Status.COMPLETED, Status.INTERRUPTED}

    resumed, second = opened(tmp_path), ScriptedExecutor(good)
    run(resumed, grid(), second, tracker)
    assert [trial.batch_size for trial in second.requests] == [128]
    assert [trial.batch_size for trial in resumed.records if trial.scored] == [8, 32, 128]


def test_a_driver_that_was_killed_leaves_nothing_lost_and_nothing_doubled(tmp_path: Path) -> None:
    plan = grid()
    study = opened(tmp_path)
    first = plan.next(study.records)
    assert isinstance(first, Trial)
    study.start(first, plan.encoder)  # and then the driver dies

    tracker, resumed = RecordingTracker(), opened(tmp_path)
    relog(resumed, tracker)
    assert tracker.reconciled == (set(), {"0000"})
    run(resumed, grid(), ScriptedExecutor(good), tracker)
    assert sorted(trial.batch_size for trial in resumed.records if trial.scored) == [8, 32, 128]


def test_what_never_reached_mlflow_is_logged_again_on_resuming(tmp_path: Path) -> None:
    run(opened(tmp_path), grid(), ScriptedExecutor(good))
    tracker = RecordingTracker()
    relog(opened(tmp_path), tracker)
    assert tracker.outcomes.keys() == {"0000", "0001", "0002"}
    assert [report.metrics["val_accuracy"] for report in tracker.epochs["0001"]] == [0.5, 1 / 32]


class CountingPlan(GridPlan):
    """A grid of one trial at a time, which counts the questions that it answers with nothing."""

    def __init__(self) -> None:
        super().__init__(SPACE, 2, budget=Budget(2))
        self.answers: list[Decision] = []

    def next(self, records: Records) -> Decision:
        self.answers.append(Pause.WAIT if records.n_running else super().next(records))
        return self.answers[-1]


def test_a_pass_ends_at_the_first_question_that_is_answered_with_nothing(tmp_path: Path) -> None:
    plan, executor = CountingPlan(), ScriptedExecutor(good, devices=[f"cpu:{n}" for n in range(20)])
    run(opened(tmp_path), plan, executor)
    events = len(executor.requests) * 3  # two epochs and an outcome each, a pass for each
    assert len(plan.answers) <= len(executor.requests) + events + 1


class MeasuringPlan(GridPlan):
    """A grid that wants the noise scale once its first trial has ended."""

    def next(self, records: Records) -> Decision:
        if len(records) == 1 and not self.measured():
            return MeasureNoise(8, None, 0, 100.0)
        return super().next(records)

    def measured(self) -> bool:
        return bool(self.assistant.wishes)

    assistant: Assistant


def test_what_a_plan_needs_is_measured_when_nothing_runs(tmp_path: Path) -> None:
    plan, study = MeasuringPlan(SPACE, 1, budget=Budget(2)), opened(tmp_path)
    executor, assistant = ScriptedExecutor(good, devices=("cpu:0", "cpu:1")), Assistant()
    plan.assistant = assistant
    halving = Halving(OBJECTIVE, n_train=1000, stops=False)
    loop = SearchLoop(study, plan, executor, RecordingTracker(), SilentDisplay(), assistant=assistant, halving=halving)
    loop.run()
    assert assistant.wishes == [MeasureNoise(8, None, 0, 100.0)]
    assert len(executor.requests) == 3


@pytest.mark.parametrize("name", SAMPLERS)
def test_bayes_never_goes_where_memory_has_run_out(name: str, tmp_path: Path) -> None:
    def wall(trial: Trial) -> TrialOutcome | list[float]:
        if trial.batch_size >= 64:
            return TrialOutcome(trial.trial_id, Status.OUT_OF_MEMORY, reason="too large")
        return [trial.batch_size / 100]

    space = SearchSpace(BatchSize(1, 1024), LearningRate(), optimizer="Adam", model_rate=0.001)
    executor = ScriptedExecutor(wall)
    run(opened(tmp_path), bayes(space, 30, name), executor)
    too_large = [trial.batch_size for trial in executor.requests if trial.batch_size >= 64]
    assert too_large == sorted(too_large, reverse=True)  # every failure lies below the one before
    assert len(too_large) == len(set(too_large)) <= 5


@pytest.mark.parametrize("name", SAMPLERS)
def test_bayes_never_exceeds_what_a_probe_found_to_fit(name: str, tmp_path: Path) -> None:
    space = SearchSpace(BatchSize(1, 1024), LearningRate(), optimizer="Adam", model_rate=0.001)
    executor = ScriptedExecutor(good)
    run(opened(tmp_path), bayes(space, 12, name, limit=32), executor)
    assert max(trial.batch_size for trial in executor.requests) <= 32


@pytest.mark.parametrize("name", ["tpe", "random"])
def test_bayes_repeats_nothing_on_a_finite_space(name: str, tmp_path: Path) -> None:
    space = SearchSpace(BatchSize(1, 64), LearningRate.choices(0.1, 0.2), optimizer="Adam", model_rate=0.001)
    study = opened(tmp_path)
    run(study, bayes(space, 50, name), ScriptedExecutor(good))
    settings = [trial.setting for trial in study.records]
    assert len(settings) == len(set(settings)) == 14


def test_a_time_limit_starts_no_trial_but_the_first(tmp_path: Path) -> None:
    executor = ScriptedExecutor(good)
    run(opened(tmp_path), grid(), executor, deadline=Deadline(0.0))
    assert [trial.batch_size for trial in executor.requests] == [8]


def uneven(trial: Trial) -> list[float]:
    """One epoch of the smallest batch size, many of the others."""
    return [0.5] * (1 if trial.batch_size == 8 else 100)


def test_trials_that_run_when_the_time_is_up_run_again_in_the_next_search(tmp_path: Path) -> None:
    clock = iter(range(1000))
    deadline = Deadline(6.0, now=lambda: float(next(clock)))
    executor, tracker = ScriptedExecutor(uneven, devices=("cpu:0", "cpu:1")), RecordingTracker()
    run(opened(tmp_path), grid(), executor, tracker, deadline)
    assert {outcome.status for outcome in tracker.outcomes.values()} == {Status.COMPLETED, Status.INTERRUPTED}
    assert "the time was up" in {outcome.reason for outcome in tracker.outcomes.values()}
    second = ScriptedExecutor(good)
    run(opened(tmp_path), grid(), second, tracker)
    assert {trial.batch_size for trial in second.requests} == {32, 128}


def test_without_any_score_the_running_trial_may_end(tmp_path: Path) -> None:
    clock = iter(range(1000))
    study = opened(tmp_path)
    deadline = Deadline(1.0, now=lambda: float(next(clock)))
    run(study, grid(), ScriptedExecutor(lambda _: [0.5] * 50), deadline=deadline)
    assert statuses(study) == [Status.COMPLETED]


def by_rate(trial: Trial) -> list[float]:
    """Nine epochs that get nowhere but at the best learning rate, and least of all at the largest."""
    stuck = {0.1: 0.08, 0.4: 0.05}.get(trial.learning_rate or 0.0)
    return [epoch / 10 if stuck is None else stuck for epoch in range(1, 10)]


def test_trials_behind_their_batch_size_are_stopped_and_optuna_learns_how_far_they_came(tmp_path: Path) -> None:
    space = SearchSpace(BatchSize.of(8, 32), LearningRate.choices(0.1, 0.2, 0.4), optimizer="Adam", model_rate=0.001)
    study, executor, tracker = opened(tmp_path), ScriptedExecutor(by_rate), RecordingTracker()
    run(study, grid(space=space, epochs=9), executor, tracker, prunes=True)
    assert {(trial.batch_size, trial.learning_rate): trial.status for trial in study.records} == {
        (size, rate): Status.PRUNED if rate == 0.4 else Status.COMPLETED for size in (8, 32) for rate in (0.1, 0.2, 0.4)
    }
    trials = optuna.load_study(study_name="study", storage=journal_of(tmp_path)).trials
    stopped = [trial for trial in trials if trial.state is optuna.trial.TrialState.PRUNED]
    assert [trial.intermediate_values for trial in stopped] == [{1000: 0.05}] * 2
    assert [len(epochs) for epochs in tracker.epochs.values()] == [9, 9, 9, 9, 1, 1]


class HangingExecutor(ScriptedExecutor):
    """Its first trial never tells anything; time goes on while it is waited for."""

    def __init__(self, clock: list[float]) -> None:
        super().__init__(good)
        self._clock, self._hangs = clock, True

    def submit(self, request: Any, device: str) -> None:
        if not self._hangs:
            super().submit(request, device)

    def events(self, timeout_s: float) -> list[Any]:
        self._clock[0] += 30.0
        return [] if self._hangs else super().events(timeout_s)

    def renew(self, device: str) -> None:
        super().renew(device)
        self._hangs = False


def test_a_trial_that_hangs_ends_at_its_limit_and_the_search_goes_on(tmp_path: Path) -> None:
    clock = [0.0]
    executor, study = HangingExecutor(clock), opened(tmp_path)
    deadline = Deadline(now=lambda: clock[0])
    run(study, grid(), executor, deadline=deadline, trial_timeout_s=100.0)
    first, *others = sorted(study.records, key=lambda trial: trial.trial_id)
    assert first.status is Status.FAILED
    assert first.reason == "It ran longer than the limit of 100 s for a trial, and was ended."
    assert [trial.status for trial in others] == [Status.COMPLETED] * 2
    assert executor.renewed == ["cpu:0"]
    assert clock[0] < 100.0 + 2 * 30.0 + 30.0 * 12


def test_without_a_limit_a_trial_may_take_its_time(tmp_path: Path) -> None:
    clock = [0.0]
    executor, study = ScriptedExecutor(good), opened(tmp_path)
    run(study, grid(), executor, deadline=Deadline(now=lambda: clock.append(0.0) or 1e6 * len(clock)))
    assert [trial.status for trial in study.records] == [Status.COMPLETED] * 3
