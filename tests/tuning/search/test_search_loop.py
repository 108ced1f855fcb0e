"""The search from oracle to tracker, on scripted trials."""

from __future__ import annotations

from pathlib import Path

import keras_tuner
import optuna
import pytest
from fakes import RecordingTracker, ScriptedExecutor, SilentDisplay

from search_spaces import BatchSize, LearningRate, SearchSpace
from tuning.search.loop import Deadline, SearchLoop, relog
from tuning.search.options import SAMPLERS
from tuning.study.encoding import Encoding
from tuning.study.halving import Halving
from tuning.study.oracle import OptunaOracle
from tuning.study.plans import BayesianPlan, GridPlan, Plan
from tuning.study.records import TrialRecord
from tuning.study.samplers import make_sampler
from tuning.study.storage import StudyError, StudyLock, check_settings, journal_of, open_study, set_aside
from tuning.trial import Status, TrialOutcome, TrialRequest

SPACE = SearchSpace(BatchSize.of(8, 32, 128), LearningRate(), optimizer="Adam", model_rate=0.001)


def good(request: TrialRequest) -> list[float]:
    return [0.5, 1.0 / request.batch_size]


def request_of(record: TrialRecord) -> TrialRequest:
    return TrialRequest(record.trial_id, record.setting.batch_size, record.seed, epochs=2)


def open_oracle(directory: Path, plan: Plan, sampler: optuna.samplers.BaseSampler | None = None) -> OptunaOracle:
    oracle = OptunaOracle()
    oracle.objective = keras_tuner.Objective("val_accuracy", "max")
    study = open_study(journal_of(directory), "study", maximize=True, settings={"a": "1"}, sampler=sampler)
    oracle.open(study, plan)
    return oracle


def run(
    oracle: OptunaOracle, executor: ScriptedExecutor, tracker: RecordingTracker, deadline: Deadline | None = None
) -> None:
    SearchLoop(oracle, executor, tracker, SilentDisplay(), request_of=request_of, deadline=deadline).run()


def test_every_planned_trial_runs_once_and_is_recorded_everywhere(tmp_path: Path) -> None:
    oracle, tracker = open_oracle(tmp_path, GridPlan(SPACE, seeds=2)), RecordingTracker()
    executor = ScriptedExecutor(good)
    run(oracle, executor, tracker)
    assert [(r.batch_size, r.seed) for r in executor.requests] == [(b, s) for s in (0, 1) for b in (8, 32, 128)]
    assert [record.score for record in oracle.records] == [1 / 8, 1 / 32, 1 / 128] * 2
    assert tracker.params["0000"] == {
        "batch_size": 8,
        "learning_rate": 0.0005,
        "seed": 0,
        "epochs": 2,
        "stage": "search",
    }
    assert [len(epochs) for epochs in tracker.epochs.values()] == [2] * 6
    assert oracle.get_best_trials(1)[0].score == 1 / 8


def test_the_score_is_the_last_epoch_not_the_luckiest(tmp_path: Path) -> None:
    oracle = open_oracle(tmp_path, GridPlan(SPACE, seeds=1))
    run(oracle, ScriptedExecutor(lambda _: [0.9, 0.2]), RecordingTracker())
    assert oracle.get_best_trials(1)[0].score == 0.2


def test_a_failure_is_data_and_the_search_goes_on(tmp_path: Path) -> None:
    def failing(request: TrialRequest) -> TrialOutcome | list[float]:
        statuses = {8: Status.FAILED, 32: Status.DIVERGED}
        if request.batch_size in statuses:
            return TrialOutcome(request.trial_id, statuses[request.batch_size], reason="boom")
        return [0.5]

    oracle, tracker = open_oracle(tmp_path, GridPlan(SPACE, seeds=4)), RecordingTracker()
    run(oracle, ScriptedExecutor(failing), tracker)
    statuses = [record.status for record in oracle.records]
    assert statuses == [Status.FAILED, Status.DIVERGED, Status.COMPLETED] * 4
    assert tracker.outcomes["0000"].reason == "boom"


def test_two_devices_share_the_work_without_repeating_any(tmp_path: Path) -> None:
    executor = ScriptedExecutor(good, devices=("cpu:0", "cpu:1"))
    oracle = open_oracle(tmp_path, GridPlan(SPACE, seeds=3))
    run(oracle, executor, RecordingTracker())
    assert len({(r.batch_size, r.seed) for r in executor.requests}) == len(executor.requests) == 9


def test_ctrl_c_records_running_trials_and_the_search_resumes_them(tmp_path: Path) -> None:
    def interrupted(request: TrialRequest) -> list[float]:
        if request.trial_id == "0002":
            raise KeyboardInterrupt
        return good(request)

    executor, tracker = ScriptedExecutor(interrupted), RecordingTracker()
    oracle = open_oracle(tmp_path, GridPlan(SPACE, seeds=1))
    with pytest.raises(KeyboardInterrupt):
        run(oracle, executor, tracker)
    assert executor.is_shut_down
    assert oracle.records[-1].status is Status.INTERRUPTED

    resumed = open_oracle(tmp_path, GridPlan(SPACE, seeds=1))
    second = ScriptedExecutor(good)
    run(resumed, second, tracker)
    assert [r.batch_size for r in second.requests] == [128]
    completed = [record.setting.batch_size for record in resumed.records if record.status is Status.COMPLETED]
    assert completed == [8, 32, 128]


def test_a_driver_that_was_killed_leaves_nothing_lost_and_nothing_doubled(tmp_path: Path) -> None:
    oracle = open_oracle(tmp_path, GridPlan(SPACE, seeds=1))
    oracle.create_trial("cpu:0")  # and then the driver dies

    tracker = RecordingTracker()
    resumed = open_oracle(tmp_path, GridPlan(SPACE, seeds=1))
    relog(resumed, tracker, epochs=2)
    assert tracker.reconciled == (set(), {"0000"})
    run(resumed, ScriptedExecutor(good), tracker)
    completed = [record.setting.batch_size for record in resumed.records if record.status is Status.COMPLETED]
    assert sorted(completed) == [8, 32, 128]


def test_what_never_reached_mlflow_is_logged_again_on_resuming(tmp_path: Path) -> None:
    run(open_oracle(tmp_path, GridPlan(SPACE, seeds=1)), ScriptedExecutor(good), RecordingTracker())
    tracker = RecordingTracker()
    relog(open_oracle(tmp_path, GridPlan(SPACE, seeds=1)), tracker, epochs=2)
    assert tracker.outcomes.keys() == {"0000", "0001", "0002"}
    assert [epoch.metrics["val_accuracy"] for epoch in tracker.epochs["0001"]] == [0.5, 1 / 32]


def sampler_of(name: str, space: SearchSpace, budget: int, limit: int | None = None) -> optuna.samplers.BaseSampler:
    encoding = Encoding(space, search_rates=True)
    return make_sampler(name, encoding, budget=budget, maximize=True, seed=1, largest_fitting=lambda: limit)


@pytest.mark.parametrize("name", SAMPLERS)
def test_bayes_never_goes_where_memory_has_run_out(name: str, tmp_path: Path) -> None:
    def wall(request: TrialRequest) -> TrialOutcome | list[float]:
        if request.batch_size >= 64:
            return TrialOutcome(request.trial_id, Status.OUT_OF_MEMORY, reason="too large")
        return [request.batch_size / 100]

    space = SearchSpace(BatchSize(1, 1024), LearningRate(), optimizer="Adam", model_rate=0.001)
    executor = ScriptedExecutor(wall)
    plan = BayesianPlan(space, max_trials=30, seeds=1, maximize=True)
    run(open_oracle(tmp_path, plan, sampler_of(name, space, 30)), executor, RecordingTracker())
    lost = [r.batch_size for r in executor.requests if r.batch_size >= 64]
    assert lost == sorted(lost, reverse=True)  # every failure lies below the one before
    assert len(lost) == len(set(lost)) <= 5


@pytest.mark.parametrize("name", SAMPLERS)
def test_bayes_never_exceeds_what_a_probe_found_to_fit(name: str, tmp_path: Path) -> None:
    space = SearchSpace(BatchSize(1, 1024), LearningRate(), optimizer="Adam", model_rate=0.001)
    executor = ScriptedExecutor(good)
    plan = BayesianPlan(space, max_trials=12, seeds=1, maximize=True)
    run(open_oracle(tmp_path, plan, sampler_of(name, space, 12, limit=32)), executor, RecordingTracker())
    assert max(request.batch_size for request in executor.requests) <= 32


@pytest.mark.parametrize("name", ["tpe", "random"])
def test_bayes_repeats_nothing_on_a_finite_space(name: str, tmp_path: Path) -> None:
    space = SearchSpace(BatchSize(1, 64), LearningRate.choices(0.1, 0.2), optimizer="Adam", model_rate=0.001)
    plan = BayesianPlan(space, max_trials=50, seeds=1, maximize=True)
    oracle = open_oracle(tmp_path, plan, sampler_of(name, space, 50))
    run(oracle, ScriptedExecutor(good), RecordingTracker())
    settings = [record.setting for record in oracle.records]
    assert len(settings) == len(set(settings)) == 14


def test_a_study_with_other_settings_is_refused_and_says_what_differs(tmp_path: Path) -> None:
    storage = journal_of(tmp_path)
    open_study(storage, "study", maximize=True, settings={"epochs": "5", "seeds": "3"})
    check_settings(storage, "study", {"epochs": "5", "seeds": "3"})
    with pytest.raises(StudyError, match="epochs was 5, now 9"):
        check_settings(storage, "study", {"epochs": "9", "seeds": "3"})


def test_starting_over_sets_the_old_study_aside(tmp_path: Path) -> None:
    run(open_oracle(tmp_path, GridPlan(SPACE, seeds=1)), ScriptedExecutor(good), RecordingTracker())
    set_aside(journal_of(tmp_path), "study")
    names = optuna.get_all_study_names(journal_of(tmp_path))
    assert len(names) == 1
    assert names[0].startswith("study (until ")
    assert open_oracle(tmp_path, GridPlan(SPACE, seeds=1)).records == ()


def test_a_study_is_run_by_one_process_at_a_time(tmp_path: Path) -> None:
    lock = StudyLock(tmp_path / "study")
    with pytest.raises(StudyError, match="one process at a time"):
        StudyLock(tmp_path / "study")
    lock.release()
    StudyLock(tmp_path / "study").release()


def test_a_time_limit_starts_no_trial_but_the_first(tmp_path: Path) -> None:
    executor = ScriptedExecutor(good)
    oracle = open_oracle(tmp_path, GridPlan(SPACE, seeds=1))
    run(oracle, executor, RecordingTracker(), Deadline(0.0))
    assert [request.batch_size for request in executor.requests] == [8]


def uneven(request: TrialRequest) -> list[float]:
    """One epoch of the smallest batch size, many of the others."""
    return [0.5] * (1 if request.batch_size == 8 else 100)


def test_trials_that_run_when_the_time_is_up_are_owed_to_the_next_search(tmp_path: Path) -> None:
    clock = iter(range(1000))
    deadline = Deadline(6.0, now=lambda: float(next(clock)))
    executor, tracker = ScriptedExecutor(uneven, devices=("cpu:0", "cpu:1")), RecordingTracker()
    run(open_oracle(tmp_path, GridPlan(SPACE, seeds=1)), executor, tracker, deadline)
    assert {outcome.status for outcome in tracker.outcomes.values()} == {Status.COMPLETED, Status.INTERRUPTED}
    assert "the time was up" in {outcome.reason for outcome in tracker.outcomes.values()}
    second = ScriptedExecutor(good)
    resumed = open_oracle(tmp_path, GridPlan(SPACE, seeds=1))
    run(resumed, second, tracker)
    assert {request.batch_size for request in second.requests} == {32, 128}


def test_without_any_score_the_running_trial_may_end(tmp_path: Path) -> None:
    clock = iter(range(1000))
    oracle, executor = open_oracle(tmp_path, GridPlan(SPACE, seeds=1)), ScriptedExecutor(lambda _: [0.5] * 50)
    run(oracle, executor, RecordingTracker(), Deadline(1.0, now=lambda: float(next(clock))))
    assert [record.status for record in oracle.records] == [Status.COMPLETED]


def by_rate(request: TrialRequest) -> list[float]:
    """Nine epochs that get nowhere but at the best learning rate, and least of all at the largest."""
    stuck = {0.1: 0.08, 0.4: 0.05}.get(request.learning_rate or 0.0)
    return [epoch / 10 if stuck is None else stuck for epoch in range(1, 10)]


def test_trials_behind_their_batch_size_are_stopped_and_optuna_learns_how_far_they_came(tmp_path: Path) -> None:
    space = SearchSpace(BatchSize.of(8, 32), LearningRate.choices(0.1, 0.2, 0.4), optimizer="Adam", model_rate=0.001)
    oracle, executor, tracker = OptunaOracle(), ScriptedExecutor(by_rate), RecordingTracker()
    oracle.objective = keras_tuner.Objective("val_accuracy", "max")
    study = open_study(journal_of(tmp_path), "study", maximize=True, settings={})
    halving = Halving("val_accuracy", maximize=True, epochs=9, n_train=1000)
    oracle.open(study, GridPlan(space, seeds=1), halving)

    def with_rate(record: TrialRecord) -> TrialRequest:
        return TrialRequest(record.trial_id, record.setting.batch_size, record.seed, 9, record.setting.learning_rate)

    SearchLoop(oracle, executor, tracker, SilentDisplay(), request_of=with_rate).run()
    statuses = {(r.setting.batch_size, r.setting.learning_rate): r.status for r in oracle.records}
    assert statuses == {
        (size, rate): Status.PRUNED if rate == 0.4 else Status.COMPLETED for size in (8, 32) for rate in (0.1, 0.2, 0.4)
    }
    stopped = [trial for trial in study.trials if trial.state is optuna.trial.TrialState.PRUNED]
    assert [trial.intermediate_values for trial in stopped] == [{1000: 0.05}] * 2
    assert [len(epochs) for epochs in tracker.epochs.values()] == [9, 9, 9, 9, 1, 1]
