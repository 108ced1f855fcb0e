"""A canary for a password: no error, warning, tag, report or output has it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tuning.cli import main
from tuning.objective import Objective
from tuning.passwords import without_passwords
from tuning.record.store import TrackingError, check_store, connect
from tuning.search.preparation import provenance
from tuning.show.answer import Answer
from tuning.stats.recommendation import recommend
from tuning.study.storage import StudyError, journal_of
from tuning.trial import finished_trial

CANARY = "c4n@ry/pw"
URI = f"http://me:{CANARY}@127.0.0.1:9"


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        (f"at {URI}/path", "at http://me:***@127.0.0.1:9/path"),
        (f"got 'postgresql+psycopg://me:{CANARY}@host/db'.", "got 'postgresql+psycopg://me:***@host/db'."),
        ("http://host/a?x=1&token=abc&y=2", "http://host/a?x=1&token=***&y=2"),
        ("http://host:5000/a me@host", "http://host:5000/a me@host"),
        (f"at {Path(URI)}/path", "at http:/me:***@127.0.0.1:9/path"),
        ("sqlite:///runs/mlflow.db", "sqlite:///runs/mlflow.db"),
        ("two http://a:b@c and http://d:e@f", "two http://a:***@c and http://d:***@f"),
    ],
)
def test_passwords_are_hidden_and_nothing_else(text: str, hidden: str) -> None:
    assert without_passwords(text) == hidden


def test_errors_of_both_stores_hide_it(tmp_path: Path) -> None:
    with pytest.raises(TrackingError) as told:
        connect(URI)
    assert "me:***@" in str(told.value)
    assert CANARY not in str(told.value)
    with pytest.raises(StudyError) as told:
        journal_of(tmp_path, f"nonsense://me:{CANARY}@host/db")
    assert CANARY not in str(told.value)


def test_the_storage_may_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCH_SIZE_STORAGE", f"sqlite:///{tmp_path / 'studies.db'}")
    journal_of(tmp_path)
    assert (tmp_path / "studies.db").exists()
    assert not (tmp_path / "study.journal").exists()


def test_a_command_is_recorded_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["batch-size", "grid", "digits", "--tracking-uri", URI])
    command = provenance([])["command"]
    assert "--tracking-uri http://me:***@" in command
    assert CANARY not in command


def test_an_answer_hides_it() -> None:
    trials = [finished_trial(size, seed, 0.5 + size / 100) for size in (8, 16) for seed in range(3)]
    answer = Answer(recommend(trials, objective=Objective("val_accuracy")), "study", URI, "1")
    assert CANARY not in json.dumps(answer.to_json())


def test_the_command_line_hides_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pick", "--tracking-uri", URI]) == 2
    told = capsys.readouterr()
    assert "me:***@" in told.err
    assert CANARY not in told.out + told.err


def test_what_has_no_password_is_told_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match="absent"):
        check_store(f"sqlite:///{tmp_path / 'absent' / 'mlflow.db'}")
