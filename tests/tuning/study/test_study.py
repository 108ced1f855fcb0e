"""A study is the truth: whatever dies, each planned trial is known to have run, to have ended, or to run again."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import pytest
from sqlalchemy import event

from search_spaces.entry import Entry
from search_spaces.space import Setting
from tuning.instructions import Budget, Goal
from tuning.machine.machine import Machine
from tuning.objective import Objective
from tuning.study.claim import StudyLock
from tuning.study.encoding import CLOSING, closing_of
from tuning.study.lease import GRACE_S, LostLeaseError
from tuning.study.storage import StudyError, check_settings, create_study, journal_of, limit_waits, set_aside
from tuning.study.study import PlainEncoder, Study
from tuning.trial import MOST_LOSSES, EpochReport, Status, Trial, TrialOutcome

OBJECTIVE = Objective("val_accuracy")
PLANNED = Trial(Setting(8, 0.1, (("units", 4),)), 3, "confirm", Budget(2, Goal(OBJECTIVE, 0.9, 2)))


def opened(directory: Path, kind: str = "cpu") -> Study:
    storage = journal_of(directory)
    create_study(storage, "study", objective=OBJECTIVE, settings={"a": "1"})
    study = Study("study")
    study.open(storage, OBJECTIVE, device_kind=kind)
    return study


def run(study: Study, status: Status = Status.COMPLETED, *scores: float, **measured: Any) -> Trial:
    trial = study.start(PLANNED, PlainEncoder())
    for epoch, score in enumerate(scores, start=1):
        metrics = {"val_accuracy": score}
        study.report(EpochReport(trial.trial_id, epoch, 100 * epoch, epoch, metrics, 0.1))
    return study.finish(TrialOutcome(trial.trial_id, status, **measured))


def optuna_states(directory: Path) -> list[str]:
    study = optuna.load_study(study_name="study", storage=journal_of(directory))
    return [trial.state.name for trial in study.trials]


def test_a_trial_comes_back_as_it_was(tmp_path: Path) -> None:
    trial = run(opened(tmp_path), Status.COMPLETED, 0.5, float("nan"), 0.7, seconds=1.5, measurements={"x": 2.0})
    assert trial.score == 0.7
    again = opened(tmp_path).records["0000"]
    assert again.reports[0] == trial.reports[0]
    assert str(again.reports[1]) == str(trial.reports[1])  # NaN is not equal to itself
    assert (again.key, again.budget, again.outcome, again.score) == (
        trial.key,
        trial.budget,
        trial.outcome,
        trial.score,
    )


def test_the_score_is_that_of_the_weights_that_the_training_ended_with(tmp_path: Path) -> None:
    assert run(opened(tmp_path), Status.COMPLETED, 0.5, 0.9, 0.7, weights_epoch=2).score == 0.9
    assert opened(tmp_path).records["0000"].score == 0.9


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (Status.COMPLETED, "COMPLETE"),
        (Status.PRUNED, "PRUNED"),
        (Status.OUT_OF_MEMORY, "PRUNED"),
        (Status.DIVERGED, "FAIL"),
        (Status.FAILED, "FAIL"),
        (Status.LOST, "FAIL"),
    ],
)
def test_optuna_is_told_what_samplers_should_learn(status: Status, state: str, tmp_path: Path) -> None:
    run(opened(tmp_path), status, 0.5)
    assert optuna_states(tmp_path) == [state]


def test_optuna_s_dashboard_shows_real_values_and_the_name_of_the_objective(tmp_path: Path) -> None:
    study = opened(tmp_path)
    entries = (Entry("units", "Choice", (4, 8)), Entry("width", "Choice", (1,)))
    setting = Setting(48, 3e-4, (("units", 4), ("width", 1)))
    study.start(Trial(setting, 3, "confirm"), PlainEncoder(entries))
    storage = journal_of(tmp_path)
    found = optuna.load_study(study_name="study", storage=storage)
    (trial,) = found.trials
    assert trial.params == {"batch_size": 48, "learning_rate": 3e-4, "units": 4}
    assert (trial.user_attrs["seed"], trial.user_attrs["stage"]) == (3, "confirm")
    attributes = storage.get_study_system_attrs(found._study_id)
    assert attributes[optuna.study.study._SYSTEM_ATTR_METRIC_NAMES] == ["val_accuracy"]


def test_optuna_says_how_important_the_parameters_of_a_study_that_has_grown_are(tmp_path: Path) -> None:
    study = opened(tmp_path)
    for size in (8, 64, 2048):
        for rate in (1e-4, 1e-3):
            trial = study.start(Trial(Setting(size, rate), 0), PlainEncoder())
            study.report(EpochReport(trial.trial_id, 1, 100, 1, {"val_accuracy": 1 / size}, 0.1))
            study.finish(TrialOutcome(trial.trial_id, Status.COMPLETED))
    found = optuna.load_study(study_name="study", storage=journal_of(tmp_path))
    importance = optuna.importance.get_param_importances(found)
    assert importance["batch_size"] > 0.9


def test_optuna_learns_how_far_a_pruned_trial_came(tmp_path: Path) -> None:
    run(opened(tmp_path), Status.PRUNED, 0.5, 0.6)
    (trial,) = optuna.load_study(study_name="study", storage=journal_of(tmp_path)).trials
    assert trial.intermediate_values == {100: 0.5, 200: 0.6}
    assert trial.params == {"batch_size": 8, "learning_rate": 0.1}


def test_a_trial_is_whole_from_its_first_write(tmp_path: Path) -> None:
    opened(tmp_path).start(PLANNED, PlainEncoder())  # and then the driver dies
    study = opened(tmp_path)
    assert study.records["0000"].status is Status.INTERRUPTED
    again = study.records.interrupted_to_rerun()
    assert again is not None
    assert (again.key, again.budget) == (PLANNED.key, PLANNED.budget)
    assert optuna_states(tmp_path) == ["FAIL"]


def test_an_outcome_that_was_written_counts_although_the_driver_died_before_optuna_knew(tmp_path: Path) -> None:
    study = opened(tmp_path)
    trial = study.start(PLANNED, PlainEncoder())
    storage = journal_of(tmp_path)
    done = Trial(**{**vars(trial), "outcome": TrialOutcome(trial.trial_id, Status.COMPLETED), "score": 0.5})
    optuna_id = storage.get_trial_id_from_study_id_trial_number(storage.get_study_id_from_name("study"), 0)
    storage.set_trial_user_attr(optuna_id, CLOSING, closing_of(done))
    again = opened(tmp_path).records["0000"]
    assert (again.status, again.score) == (Status.COMPLETED, 0.5)
    assert optuna_states(tmp_path) == ["COMPLETE"]


def test_names_go_on_where_they_ended(tmp_path: Path) -> None:
    assert run(opened(tmp_path)).trial_id == "0000"
    assert run(opened(tmp_path)).trial_id == "0001"


def test_a_trial_that_is_lost_for_ever_has_failed(tmp_path: Path) -> None:
    study = opened(tmp_path)
    statuses = [run(study, Status.LOST, reason="the node went away").status for _ in range(MOST_LOSSES + 1)]
    assert statuses == [Status.LOST] * MOST_LOSSES + [Status.FAILED]
    assert study.records["0003"].reason == "It was lost 4 times; the last time: the node went away"
    assert study.records.interrupted_to_rerun() is None


def test_what_was_measured_is_kept_by_kind_of_device(tmp_path: Path) -> None:
    opened(tmp_path, "cpu").measured(Machine(memory_is_known=True, seconds_to_start=1.5))
    assert opened(tmp_path, "cpu").records.machine.seconds_to_start == 1.5
    assert opened(tmp_path, "gpu").records.machine == Machine()


def test_facts_are_remembered(tmp_path: Path) -> None:
    study = opened(tmp_path)
    assert study.recall("fact") is None
    study.remember("fact", {"a": 1})
    assert opened(tmp_path).recall("fact") == {"a": 1}


def test_a_study_that_is_not_open_says_so() -> None:
    study = Study("study")
    assert not study.is_open
    assert study.recall("fact") is None
    with pytest.raises(ValueError, match="No study is open yet"):
        _ = study.objective


def test_a_study_with_other_settings_is_refused_and_says_what_differs(tmp_path: Path) -> None:
    storage = journal_of(tmp_path)
    create_study(storage, "study", objective=OBJECTIVE, settings={"epochs": "5", "seeds": "3"})
    check_settings(storage, "study", {"epochs": "5", "seeds": "3"})
    with pytest.raises(StudyError, match="epochs was 5, now 9"):
        check_settings(storage, "study", {"epochs": "9", "seeds": "3"})


def test_a_study_of_another_format_is_refused_in_one_line(tmp_path: Path) -> None:
    storage = journal_of(tmp_path)
    optuna.create_study(storage=storage, study_name="study").set_user_attr("settings", {"epochs": "5"})
    with pytest.raises(StudyError, match=r"must have a record of format 2; got 1.*--fresh") as refused:
        check_settings(storage, "study", {"epochs": "5"})
    assert "\n" not in str(refused.value)


def test_starting_over_sets_the_old_study_aside(tmp_path: Path) -> None:
    run(opened(tmp_path))
    set_aside(journal_of(tmp_path), "study")
    (name,) = optuna.get_all_study_names(journal_of(tmp_path))
    assert name.startswith("study (until ")
    assert len(opened(tmp_path).records) == 0


def test_a_study_is_run_by_one_process_at_a_time(tmp_path: Path) -> None:
    lock = StudyLock(tmp_path / "study")
    with pytest.raises(StudyError, match="one process at a time"):
        StudyLock(tmp_path / "study")
    lock.close()
    StudyLock(tmp_path / "study").close()


def test_a_score_that_is_no_number_is_no_value_for_optuna(tmp_path: Path) -> None:
    run(opened(tmp_path), Status.COMPLETED, float("nan"))
    assert optuna_states(tmp_path) == ["FAIL"]


def test_only_a_trial_that_completed_has_a_score(tmp_path: Path) -> None:
    study = opened(tmp_path)
    assert run(study, Status.COMPLETED, 0.5, 0.6).score == 0.6
    assert run(study, Status.PRUNED, 0.5, 0.6).score is None


def test_measuring_one_kind_of_device_forgets_no_other(tmp_path: Path) -> None:
    opened(tmp_path, "cpu").measured(Machine(seconds_to_start=1.5))
    opened(tmp_path, "gpu").measured(Machine(seconds_to_start=2.5))
    assert opened(tmp_path, "cpu").records.machine.seconds_to_start == 1.5


def test_a_full_disk_is_no_bad_input_and_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    study = opened(tmp_path)
    monkeypatch.setattr("os.fsync", write)
    with pytest.raises(OSError, match="No space left on device") as caught:
        study.start(PLANNED, PlainEncoder())
    assert caught.value.filename == str(tmp_path / "study.journal")
    monkeypatch.undo()
    monkeypatch.setattr(Path, "mkdir", write)
    with pytest.raises(OSError, match="No space left on device"):
        StudyLock(tmp_path / "another")


def test_a_full_disk_of_a_sqlite_storage_names_its_file(tmp_path: Path) -> None:
    file = tmp_path / "studies.db"
    storage = journal_of(tmp_path, f"sqlite:///file:{file}?uri=true&password=c4n4ry")
    engine = storage._backend.engine  # type: ignore[attr-defined]
    engine.dispose()
    event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA max_page_count = 1"))
    with pytest.raises(OSError, match="No space left on device") as caught:
        storage.create_new_study([optuna.study.StudyDirection.MINIMIZE] * 2000)  # more than a page
    assert caught.value.filename == str(file)


def test_a_driver_that_stops_within_a_transaction_holds_its_successor_up_for_less_than_its_lease_lasts() -> None:
    told: list[str] = []

    class Connection:
        """What a driver of PostgreSQL's hands out, which notes what it is told."""

        def cursor(self) -> Any:
            return closing(self)

        execute = staticmethod(told.append)

        def commit(self) -> None:
            told.append("COMMIT")

        def close(self) -> None:
            """Do nothing."""

    limit_waits(Connection())
    assert told[0] == "SET idle_in_transaction_session_timeout = '20s'"
    assert told[1:] == ["SET lock_timeout = '60s'", "COMMIT"]
    assert GRACE_S > 20


@pytest.mark.parametrize("is_first", [True, False])
def test_what_a_driver_writes_that_wakes_up_after_another_has_settled_its_trial_counts_for_nothing(
    tmp_path: Path, is_first: bool
) -> None:
    ousted, successor = opened(tmp_path), opened(tmp_path)
    assert not len(ousted.records) + len(successor.records)
    if is_first:
        ousted.start(PLANNED, PlainEncoder())
    settled = run(successor, Status.COMPLETED, 0.5)
    if not is_first:
        ousted.start(PLANNED, PlainEncoder())
    (trial,) = opened(tmp_path).records
    assert (trial.trial_id, trial.status, trial.score) == (settled.trial_id, Status.COMPLETED, 0.5)


def test_a_driver_that_was_replaced_while_it_wrote_a_trial_goes_on_with_nothing(tmp_path: Path) -> None:
    checks: list[int] = []

    def check() -> None:
        checks.append(1)
        if len(checks) == 2:
            raise LostLeaseError("Another driver has taken the study over.")

    study = opened(tmp_path)
    study.open(journal_of(tmp_path), OBJECTIVE, check=check)
    with pytest.raises(LostLeaseError, match="taken the study over"):
        study.start(PLANNED, PlainEncoder())
    assert len(study.records) == 0
