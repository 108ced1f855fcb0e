"""A study is read from its own record, without its data, its model or a server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras_tuner
import numpy as np
import pytest
from fakes import RecordingTracker, ScriptedExecutor

import tuning
from search_spaces import BatchSize, Data
from tuning.search.options import SearchArguments
from tuning.study.claim import StudyLock
from tuning.study.storage import StudyError

pytestmark = pytest.mark.usefixtures("no_advice")


def searched(directory: Path, **options: Any) -> tuning.GridSearch:
    x = np.zeros((64, 2), "float32")
    tuner = tuning.GridSearch(
        lambda: None,
        batch_size=BatchSize.of(8, 32),
        probe=False,
        directory=directory,
        project_name="mine",
        tracker=RecordingTracker(),
        **options,
    )
    executor = ScriptedExecutor(lambda trial: [0.5 + 0.01 * trial.seed + 0.001 * trial.batch_size])
    tuner.run(SearchArguments(Data(x, x[:, 0], x, x[:, 0]), epochs=1, verbose=False), executor)
    return tuner


def test_a_study_tells_what_its_search_told(tmp_path: Path) -> None:
    tuner = searched(tmp_path, seeds=2)
    study = tuning.load_study("mine", tmp_path)
    assert study.name == "mine"
    assert [trial.score for trial in study.trials] == [trial.score for trial in tuner.oracle.records]
    assert study.recommend() == tuner.recommend()
    assert study.recommend(rule="quality") == tuner.recommend(rule="quality")
    assert study.settings["batch_sizes"] == "8,32"


def test_a_study_that_is_not_there_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="must have been searched before it can be read"):
        tuning.load_study("mine", tmp_path)
    searched(tmp_path)
    (tmp_path / "mine").rename(tmp_path / "other")
    with pytest.raises(StudyError, match="must hold the study 'other'; it has mine"):
        tuning.load_study("other", tmp_path)


def test_a_study_that_a_search_is_running_is_left_alone(tmp_path: Path) -> None:
    searched(tmp_path)
    lock = StudyLock(tmp_path / "mine")
    with pytest.raises(StudyError, match="run by one process at a time"):
        tuning.load_study("mine", tmp_path)
    lock.close()


def test_best_settings_are_pooled_over_their_seeds(tmp_path: Path) -> None:
    tuner = searched(tmp_path, seeds=3)
    best = tuner.get_best_hyperparameters(5)
    assert [hp.values["batch_size"] for hp in best] == [32, 8]
    assert len(tuner.get_best_hyperparameters()) == 1


def test_the_first_seed_of_a_grid_may_be_chosen(tmp_path: Path) -> None:
    tuner = searched(tmp_path, seeds=2, seed=5)
    assert {trial.seed for trial in tuner.oracle.records} == {5, 6}
    with pytest.raises(ValueError, match="seed must be at least 0; got -1"):
        tuning.GridSearch(lambda: None, seed=-1)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("val_accuracy", keras_tuner.Objective("val_accuracy", "max")),
        ("odd:min", keras_tuner.Objective("odd", "min")),
        (keras_tuner.Objective("f", "max"), keras_tuner.Objective("f", "max")),
        ("odd", None),
        (None, None),
    ],
)
def test_the_objective_is_known_before_the_search(asked: Any, expected: Any) -> None:
    assert tuning.GridSearch(lambda: None, objective=asked).oracle.objective == expected
