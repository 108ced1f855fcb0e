"""Starts and ends of trials on a real PostgreSQL, beside those that Optuna writes."""

from __future__ import annotations

import math
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import event, text

from search_spaces import Setting
from tuning.instructions import Budget
from tuning.objective import Objective
from tuning.study.patient_storage import PatientStorage, end_trial
from tuning.study.server_writes import Ending
from tuning.study.storage import create_study, journal_of
from tuning.study.study import PlainEncoder, Study
from tuning.trial import EpochReport, Status, Trial, TrialOutcome

PROGRAMS = [*Path("/usr/lib/postgresql").glob("*/bin"), *map(Path, os.get_exec_path())]
OBJECTIVE = Objective("val_accuracy", "max")


def program(name: str) -> str | None:
    """Where a program of PostgreSQL's server is, which Debian keeps off the path."""
    return next((str(place / name) for place in PROGRAMS if (place / name).exists()), None)


def owner() -> str | None:
    """Whom the server runs as, which refuses to run as root; None where there is nobody else."""
    if os.geteuid():
        return pwd.getpwuid(os.geteuid()).pw_name
    return next((user.pw_name for user in pwd.getpwall() if user.pw_name in ("postgres", "nobody")), None)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    pytest.importorskip("psycopg", reason="needs the extra postgres")
    initdb, server, user = program("initdb"), program("postgres"), owner()
    if not (initdb and server and user):
        pytest.skip("needs PostgreSQL's server, and a user other than root to run it")
    place = tempfile.mkdtemp(prefix="pg")
    shutil.chown(place, user)
    made = [initdb, "-D", f"{place}/data", "--auth=trust", "--username=me", "--no-sync", "--encoding=UTF8"]
    subprocess.run(made, user=user if not os.geteuid() else None, cwd=place, check=True, stdout=subprocess.DEVNULL)
    options = ["-D", f"{place}/data", "-k", place, "-c", "listen_addresses=", "-F"]
    with open(f"{place}/log", "wb") as log:
        as_user = user if not os.geteuid() else None
        process = subprocess.Popen([server, *options], user=as_user, cwd=place, stdout=log, stderr=log)
    try:
        await_answer(f"host={place} user=me dbname=postgres")
        yield f"postgresql+psycopg://me@/postgres?host={place}"
    finally:
        process.send_signal(signal.SIGQUIT)  # at once
        process.wait(10)
        shutil.rmtree(place)


def await_answer(address: str) -> None:
    import psycopg

    deadline = time.monotonic() + 10
    while True:
        try:
            psycopg.connect(address).close()
        except psycopg.OperationalError:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        else:
            return


@pytest.fixture(scope="module")
def storage(url: str) -> Iterator[PatientStorage]:
    found = journal_of(Path(), url)
    assert isinstance(found, PatientStorage)
    yield found
    close(found)


def close(storage: PatientStorage) -> None:
    storage.remove_session()
    storage.engine.dispose()


@pytest.fixture
def study_id(storage: PatientStorage) -> int:
    return new_study(storage)


def new_study(storage: PatientStorage) -> int:
    return storage.create_new_study([StudyDirection.MAXIMIZE])


def messages(storage: PatientStorage) -> list[str]:
    """What is sent to the server from now on, as it is sent."""
    sent: list[str] = []
    event.listen(storage.engine, "before_cursor_execute", lambda _, __, statement, *___: sent.append(statement))
    return sent


def starting(number: int) -> FrozenTrial:
    return create_trial(
        state=TrialState.RUNNING,
        params={"size": 64 + number, "rate": 0.01 / (number + 3), "kind": "x", "none": None},
        distributions={
            "size": IntDistribution(1, 2**20, log=True),
            "rate": FloatDistribution(1e-8, 1e2, log=True),
            "kind": CategoricalDistribution(("x", "y")),
            "none": CategoricalDistribution((None, 1.5)),
        },
        user_attrs={"trial": {"words": ["ü%s'\"\\", 1]}, "seed": number},
    )


ENDINGS = (
    Ending(TrialState.COMPLETE, 1 / 3, {"result": {"a": [1.5, None]}}),
    Ending(TrialState.FAIL, None, {"result": "it died"}),
    Ending(TrialState.PRUNED, None, {"result": 1}, {100: 0.1, 200: 1 / 7}),
    Ending(TrialState.PRUNED, None, {"result": 2}, {100: math.inf, 200: 0.5}),
    Ending(TrialState.COMPLETE, -math.inf, {"result": 3}),
    Ending(TrialState.COMPLETE, 0.5),
)


def content(trial: FrozenTrial) -> dict[str, Any]:
    """Everything of a trial but its place in the database and when it ran."""
    names = ("number", "state", "values", "params", "distributions", "user_attrs", "system_attrs")
    return {name: getattr(trial, name) for name in (*names, "intermediate_values")}


def test_trials_are_what_optuna_would_have_written(storage: PatientStorage, study_id: int) -> None:
    optunas = new_study(storage)
    for number, ending in enumerate(ENDINGS):
        storage.end_trial(storage.create_new_trial(study_id, starting(number)), ending)
        end_trial(storage, RDBStorage.create_new_trial(storage, optunas, starting(number)), ending)
    ours, theirs = storage.get_all_trials(study_id), storage.get_all_trials(optunas)
    assert [content(trial) for trial in ours] == [content(trial) for trial in theirs]
    for trial, other in zip(ours, theirs, strict=True):
        assert trial.datetime_start is not None
        assert other.datetime_start is not None
        assert abs((trial.datetime_start - other.datetime_start).total_seconds()) < 60
        assert trial.duration is not None
        assert 0 <= trial.duration.total_seconds() < 60


def test_a_start_and_an_end_are_one_message_each(storage: PatientStorage, study_id: int) -> None:
    storage.create_new_trial(study_id, starting(0))  # whose parameters Optuna compares with the study's
    sent = messages(storage)
    number = storage.create_new_trial(study_id, starting(1))
    assert len(sent) == 1
    storage.end_trial(number, ENDINGS[2])
    assert len(sent) == 2


def test_a_trial_that_has_ended_is_not_ended_again(storage: PatientStorage, study_id: int) -> None:
    number = storage.create_new_trial(study_id, starting(0))
    storage.end_trial(number, ENDINGS[0])
    with pytest.raises(UpdateFinishedTrialError, match="has already finished"):
        storage.end_trial(number, ENDINGS[1])
    assert content(storage.get_trial(number))["user_attrs"]["result"] == {"a": [1.5, None]}


def test_a_parameter_of_another_distribution_is_refused(storage: PatientStorage, study_id: int) -> None:
    storage.create_new_trial(study_id, starting(0))
    changed = replace_distribution(starting(1), "kind", CategoricalDistribution(("x", "z")))
    with pytest.raises(ValueError, match="does not support dynamic value space"):
        storage.create_new_trial(study_id, changed)
    assert len(storage.get_all_trials(study_id)) == 1


def replace_distribution(trial: FrozenTrial, name: str, distribution: CategoricalDistribution) -> FrozenTrial:
    trial.distributions[name] = distribution
    return trial


def test_connections_that_the_server_has_cut_are_replaced(
    storage: PatientStorage, study_id: int, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = (storage.create_new_trial(study_id, starting(number)) for number in range(2))
    cut_all(storage)
    storage.end_trial(second, ENDINGS[0])
    cut_all(storage)
    storage.create_new_trial(study_id, starting(2))
    storage.end_trial(first, ENDINGS[1])
    states = [trial.state for trial in storage.get_all_trials(study_id)]
    assert states == [TrialState.FAIL, TrialState.COMPLETE, TrialState.RUNNING]
    assert not caplog.records


def cut_all(storage: PatientStorage) -> None:
    """Have the server end every connection but the one that asks."""
    with storage.engine.connect() as connection:
        others = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        connection.execute(text(f"{others} AND backend_type = 'client backend'"))


def test_trials_of_two_drivers_have_numbers_of_their_own(url: str, storage: PatientStorage, study_id: int) -> None:
    other = journal_of(Path(), url)
    assert isinstance(other, PatientStorage)

    def start(driver: PatientStorage) -> None:
        for number in range(25):
            driver.create_new_trial(study_id, starting(number))

    threads = [threading.Thread(target=start, args=(driver,)) for driver in (storage, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [trial.number for trial in storage.get_all_trials(study_id)] == list(range(50))
    close(other)


def test_a_study_reads_what_it_has_written(storage: PatientStorage) -> None:
    create_study(storage, "s", objective=OBJECTIVE, settings={})
    study = Study("s")
    study.open(storage, OBJECTIVE)
    for seed, status in enumerate((Status.COMPLETED, Status.PRUNED, Status.DIVERGED)):
        trial = study.start(Trial(Setting(64, 0.1), seed, budget=Budget(1)), PlainEncoder())
        study.report(EpochReport(trial.trial_id, 1, 100, 10, {"val_accuracy": 0.25 + seed}, 1.0))
        study.finish(TrialOutcome(trial.trial_id, status, seconds=1.5))
    study.start(Trial(Setting(32, 0.1), 0, budget=Budget(1)), PlainEncoder())
    again = Study("s")
    again.open(storage, OBJECTIVE)
    *ended, running = again.records
    assert ended == list(study.records)[:-1]
    assert running.status is Status.INTERRUPTED
    states = [trial.state for trial in storage.get_all_trials(storage.get_study_id_from_name("s"))]
    assert states == [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.FAIL]


def test_other_versions_of_optuna_write_by_themselves(
    storage: PatientStorage, study_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optuna, "__version__", "4.0.0")
    storage.create_new_trial(study_id, starting(0))
    sent = messages(storage)
    storage.end_trial(storage.create_new_trial(study_id, starting(1)), ENDINGS[0])
    assert len(sent) > 10
    assert [content(trial)["state"] for trial in storage.get_all_trials(study_id)][1] is TrialState.COMPLETE
