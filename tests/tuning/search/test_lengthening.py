"""More epochs: every training goes on from where it ended, and the study ends as if it had been planned so long."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from fakes import RecordingTracker, ScriptedExecutor, description
from scripted_searches import curve, made_up_data, probes

import tuning
from search_spaces import BatchSize, Data, LearningRate, SearchSpace
from tuning.loops.session import TrainingSession
from tuning.loops.state_file import NOT_KEPT, state_file
from tuning.messages import DescribeRequest, Event, Request
from tuning.objective import Objective
from tuning.run.executor import InlineExecutor
from tuning.run.facts import this_process
from tuning.search.lengthening import check_longer
from tuning.search.options import SearchArguments, SearchOptions
from tuning.search.preparation import Setup
from tuning.stats.recommendation import NothingToRecommend
from tuning.study.storage import StudyError
from tuning.trial import Status, Trial, TrialOutcome


def build() -> keras.Model:
    model = keras.Sequential(
        [keras.Input((6,)), keras.layers.Dropout(0.3), keras.layers.Dense(3, activation="softmax")]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def data() -> Data:
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(72, 6)).astype("float32"), generator.integers(0, 3, 72)
    return Data(x[:50], y[:50], x[50:], y[50:])


class Trainer(InlineExecutor):
    """Trains in this process, and makes up what is measured apart from trials.

    Args:
        directory: Of the studies.
        killed_at: The trial whose start ends the driver; None for none.
    """

    def __init__(self, directory: Path, killed_at: int | None) -> None:
        session = TrainingSession(build, data(), weights_directory=directory / "s" / "weights")
        super().__init__(session, this_process())
        self.trained: list[Trial] = []
        self._killed_at = killed_at
        self._answers: list[Event] = []

    def submit(self, request: Trial | Request, device: str) -> None:
        if isinstance(request, Trial):
            if len(self.trained) == self._killed_at:
                raise KeyboardInterrupt
            self.trained.append(request)
        elif not isinstance(request, DescribeRequest):
            return self._answers.append(probes(request))
        return super().submit(request, device)

    def events(self, timeout_s: float) -> list[Event]:
        answers, self._answers = self._answers, []
        return answers or super().events(timeout_s)


def tuner(directory: Path, kind: Any = tuning.GridSearch, objective: str = "val_loss", **options: Any) -> Any:
    given = {"batch_size": BatchSize.of(7, 16), "seeds": 1, "loop": "keras", "keep_states": True, "threads": 1}
    given |= {"project_name": "s", "quiet": True, "keep_models": 0, "probe": False, **options}
    return kind(build, objective, directory=directory, tracker=RecordingTracker(), **given)


def searched(directory: Path, epochs: int, killed_at: int | None = None, **options: Any) -> tuple[list[Trial], Any]:
    """Search, or go on; return the trainings that this took, and the tuner."""
    executor, searching = Trainer(directory, killed_at), tuner(directory, **options)
    searching.run(SearchArguments(data(), epochs=epochs, verbose=False), executor)
    return executor.trained, searching


def counted(searching: Any) -> list[Trial]:
    """The trials that count, by their batch size and seed."""
    completed = [trial for trial in searching.oracle.study.records if trial.status is Status.COMPLETED]
    return sorted(completed, key=lambda trial: (trial.batch_size, trial.seed))


def courses(trials: list[Trial]) -> list[Any]:
    """What their epochs measured, but for the seconds."""
    return [
        (trial.score, [(each.epoch, each.updates, dict(each.metrics)) for each in trial.reports]) for trial in trials
    ]


def test_a_longer_grid_goes_on_after_a_kill_too_and_is_bit_for_bit_the_one_planned_so_long(tmp_path: Path) -> None:
    searched(tmp_path / "grown", 2)
    with pytest.raises(KeyboardInterrupt):
        searched(tmp_path / "grown", 5, killed_at=1)
    trained, grown = searched(tmp_path / "grown", 5, seeds=2)
    _, planned = searched(tmp_path / "planned", 5, seeds=2)
    assert [(trial.batch_size, trial.seed, trial.epochs_before) for trial in trained] == [
        (16, 0, 2),
        (7, 1, 0),
        (16, 1, 0),
    ]
    assert courses(counted(grown)) == courses(counted(planned))
    assert [report.epoch for report in grown._tracker.epochs[trained[0].trial_id]] == [1, 2, 3, 4, 5]
    states = (tmp_path / "grown" / "s" / "weights").glob("*.state.npz")
    assert {path.name.partition(".")[0] for path in states} == {trial.trial_id for trial in counted(grown)}


def made_up(directory: Path, epochs: int, script: Any = curve, **options: Any) -> int:
    """Search without training, or go on; return how many trials this took."""
    searching = tuner(directory, objective="val_accuracy", **{"batch_size": BatchSize.of(16, 64), **options})
    executor = ScriptedExecutor(script, probes=probes)
    searching.run(SearchArguments(made_up_data(), epochs=epochs, verbose=False), executor)
    return len(executor.requests)


BAYES = {"kind": tuning.BayesianOptimization, "max_trials": 3, "sampler": "random", "keep_states": False}


@pytest.mark.parametrize(
    ("asked", "epochs", "told"),
    [
        (BAYES, 9, "bayes chose what it tried by the scores after 5 epochs"),
        ({"kind": tuning.StagedSearch, "keep_states": False}, 9, "tune chose what it tried by the scores"),
        ({"seeds": "auto"}, 9, "seeds went to batch sizes by the scores after 5 epochs"),
        ({"prune": True}, 9, "trials are stopped by their scores at shares of 5 epochs"),
        ({"keep_states": False}, 9, "they were trained without --keep"),
        ({}, 4, "its trainings are longer than that"),
    ],
)
def test_more_epochs_are_refused_where_other_trainings_would_come_of_them(
    asked: dict[str, Any], epochs: int, told: str, tmp_path: Path
) -> None:
    trained = made_up(tmp_path, 5, **asked)
    with pytest.raises(StudyError, match=rf"{told}.* Its trainings \({trained}\) would be trained again"):
        made_up(tmp_path, epochs, **asked)
    assert made_up(tmp_path, 5, **asked) == 0


@pytest.mark.parametrize("kind", [tuning.BayesianOptimization, tuning.StagedSearch])
def test_states_are_kept_by_grids_alone(kind: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="keep_states is for more epochs, which only GridSearch can add"):
        tuner(tmp_path, kind=kind)


def test_why_a_state_was_not_kept_is_told_where_epochs_are_added(tmp_path: Path) -> None:
    def script(trial: Trial) -> TrialOutcome:
        return TrialOutcome(trial.trial_id, Status.COMPLETED, settings={NOT_KEPT: "nothing keeps what Stop remembers"})

    with pytest.raises(NothingToRecommend):
        made_up(tmp_path, 5, script)
    with pytest.raises(StudyError, match=r"of 2 trainings, 2 are not kept where they ended \(nothing keeps what Stop"):
        made_up(tmp_path, 9)


def test_a_learning_rate_schedule_is_of_one_length(tmp_path: Path) -> None:
    setup = Setup(
        SearchArguments(made_up_data(), epochs=9),
        description(schedule="CosineDecay"),
        Objective("val_accuracy"),
        SearchSpace(BatchSize.of(8), LearningRate(), model_rate=0.001),
    )
    with pytest.raises(StudyError, match="CosineDecay gives learning rates for a training of some length"):
        check_longer(
            "s",
            {"epochs": "5", "search": "grid"},
            setup,
            SearchOptions(),
            [],
            tmp_path,
            allocates_seeds=False,
        )


def test_a_study_that_starts_afresh_forgets_all_states(tmp_path: Path) -> None:
    made_up(tmp_path, 5)
    left = state_file(tmp_path / "s" / "weights", "0000")
    left.parent.mkdir()
    left.touch()
    made_up(tmp_path, 5, overwrite=True)
    assert not left.exists()
