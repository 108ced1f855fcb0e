"""A storage on a server that goes away for a while, played by a file of sqlite whose statements fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from optuna.exceptions import StorageInternalError
from optuna.study import StudyDirection
from optuna.trial import TrialState
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from tuning.study.patient_storage import PATIENCE_S, PatientStorage


class Server:
    """A storage, and a server that cuts connections off so many times; seconds pass by sleeping alone."""

    def __init__(self, file: Path) -> None:
        self.now, self.cuts, self.is_cut = 0.0, 0, True
        self.storage = PatientStorage(f"sqlite:///{file}", clock=lambda: self.now, sleep=self._sleep)
        self.study_id = self.storage.create_new_study([StudyDirection.MAXIMIZE], "s")
        event.listen(self.storage.engine, "before_cursor_execute", self.cut)

    def _sleep(self, seconds: float) -> None:
        self.now += seconds

    def cut(self, *_: Any) -> None:
        """Fail, as long as cuts are left."""
        if self.cuts:
            self.cuts -= 1
            error = OperationalError("SELECT 1", {}, Exception("server closed the connection"))
            error.connection_invalidated = self.is_cut
            raise error


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path / "study.db")


def test_what_a_restart_has_cut_off_is_done_when_the_server_is_back(server: Server) -> None:
    server.cuts = 3
    server.storage.set_study_user_attr(server.study_id, "machine", {"a": 1})
    assert server.now == pytest.approx(1.0)
    server.cuts = 1
    assert server.storage.get_study_user_attrs(server.study_id) == {"machine": {"a": 1}}
    server.cuts = 1
    number = server.storage.create_new_trial(server.study_id)
    server.cuts = 1
    server.storage.set_trial_user_attr(number, "closing", 7)
    server.cuts = 2
    assert server.storage.set_trial_state_values(number, TrialState.COMPLETE, [0.5])
    (trial,) = server.storage.get_all_trials(server.study_id)
    assert (trial.value, trial.user_attrs) == (0.5, {"closing": 7})


def test_a_trial_that_the_cut_off_attempt_had_ended_is_ended(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    number = server.storage.create_new_trial(server.study_id)
    ending = PatientStorage.__mro__[1].set_trial_state_values

    def end_and_cut(*args: Any) -> bool:
        done = ending(*args)
        monkeypatch.setattr(PatientStorage.__mro__[1], "set_trial_state_values", ending)
        server.cuts = 1
        server.cut()
        return done

    monkeypatch.setattr(PatientStorage.__mro__[1], "set_trial_state_values", end_and_cut)
    assert server.storage.set_trial_state_values(number, TrialState.COMPLETE, [0.5])
    assert server.storage.get_trial(number).value == 0.5


def test_a_trial_that_somebody_else_has_ended_is_an_error(server: Server) -> None:
    number = server.storage.create_new_trial(server.study_id)
    server.storage.set_trial_state_values(number, TrialState.FAIL)
    with pytest.raises(RuntimeError, match="has already finished"):
        server.storage.set_trial_state_values(number, TrialState.COMPLETE, [0.5])


def test_a_server_that_stays_away_is_an_error_in_the_end(server: Server) -> None:
    server.cuts = 10_000
    with pytest.raises(StorageInternalError):
        server.storage.set_study_user_attr(server.study_id, "machine", 1)
    assert PATIENCE_S <= server.now <= PATIENCE_S + 1


def test_an_error_of_a_statement_is_not_repeated(server: Server) -> None:
    server.cuts, server.is_cut = 1, False
    with pytest.raises(StorageInternalError):
        server.storage.set_study_user_attr(server.study_id, "machine", 1)
    assert server.now == 0
