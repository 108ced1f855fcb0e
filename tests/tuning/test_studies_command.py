"""Studies listed, shown and compared from their own records, without a claim and without MLflow."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from fakes import RecordingTracker, ScriptedExecutor
from scripted_searches import arguments, curve, probes

import tuning
from search_spaces import BatchSize
from tuning.cli import main
from tuning.study.claim import StudyLock

STUDIES = Path("batch_size_studies")


@pytest.fixture(autouse=True)
def studies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two grids of the same model, the second one better at 64 by .2, and a directory that holds no study."""
    monkeypatch.chdir(tmp_path)
    search(STUDIES, "one")
    search(Path("elsewhere"), "one", lambda trial: [score + 0.2 * (trial.batch_size == 64) for score in curve(trial)])
    (STUDIES / "nothing").mkdir()


def search(directory: Path, name: str, script: Any = curve) -> None:
    given: dict[str, Any] = {"batch_size": BatchSize.of(16, 64), "seeds": 2, "tracker": RecordingTracker()}
    tuner = tuning.GridSearch(lambda: None, "val_accuracy", directory=directory, project_name=name, **given)
    tuner.run(arguments(), ScriptedExecutor(script, probes=probes))


def told(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    assert main(["studies", *words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema_version"] == 1
    return found


def test_the_list_tells_what_each_study_recommends_and_which_one_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = told(capsys, *())["studies"]
    assert (line["name"], line["kind"], line["state"]) == ("one", "grid", "ended")
    assert (line["trials"], line["running"]) == (4, 0)
    assert line["recommended"] in (16, 64)
    lock = StudyLock(STUDIES / "one")
    assert told(capsys)["studies"][0]["state"] == "running"
    lock.close()
    assert main(["studies"]) == 0
    assert "one" in capsys.readouterr().out


def test_a_study_is_shown_by_its_name_or_its_path_and_stays_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    journal = (STUDIES / "one" / "study.journal").read_bytes()
    shown = told(capsys, "one")
    assert shown == told(capsys, "batch_size_studies/one")
    assert shown["settings"]["batch_sizes"] == "16,64"
    assert main(["studies", "one"]) == 0
    assert "batch sizes  16,64" in capsys.readouterr().out
    assert (STUDIES / "one" / "study.journal").read_bytes() == journal
    assert not os.path.exists("mlflow.db")


def test_two_studies_are_compared_batch_size_by_batch_size(capsys: pytest.CaptureFixture[str]) -> None:
    found = told(capsys, "one", "elsewhere/one")
    small, large = found["table"]
    assert small["difference"] == pytest.approx(0.0)
    assert large["difference"] == pytest.approx(0.2)
    assert large["means"][1] == pytest.approx(large["means"][0] + 0.2)
    assert found["differing_settings"] == {}
    assert main(["studies", "one", "elsewhere/one"]) == 0
    assert "+0.2000" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "line"),
    [(("nothing",), "must have been searched"), (("a", "b", "c"), "at most two to compare; got 3"), (("..",), "'..'")],
)
def test_what_is_no_study_is_told_in_one_line(
    words: tuple[str, ...], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["studies", *words]) == 2
    assert line in capsys.readouterr().err
