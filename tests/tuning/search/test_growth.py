"""A study grows: what is asked for beyond what it has is trained, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import RecordingTracker, ScriptedExecutor
from scripted_searches import arguments, curve, made_up_data, probes

import tuning
from search_spaces import BatchSize, LearningRate
from tuning.machine.machine import Machine
from tuning.machine.memory import MemoryFindings
from tuning.machine.memory_ladder import Tried
from tuning.machine.throughput import ThroughputFindings
from tuning.run.memory_limit import MemoryLimit
from tuning.search.growth import grown, to_be_measured_again
from tuning.search.options import SearchArguments
from tuning.study.storage import StudyError
from tuning.trial import Trial

FIRST = {"batch_size": BatchSize.of(16, 64, 256), "seeds": 3}
KINDS = {"grid": tuning.GridSearch, "bayes": tuning.BayesianOptimization, "tune": tuning.StagedSearch}


def searched(kind: str, directory: Path, script: Any = curve, **asked: Any) -> list[Trial]:
    """Search, or go on; return the trainings that this took."""
    given = {**FIRST, **({"max_trials": 6, "sampler": "random"} if kind == "bayes" else {}), **asked}
    executor = ScriptedExecutor(script, probes=probes)
    tuner = KINDS[kind](
        lambda: None, "val_accuracy", directory=directory, project_name="s", tracker=RecordingTracker(), **given
    )
    tuner.run(arguments(), executor)
    return executor.requests


@pytest.mark.parametrize("kind", ["grid", "bayes"])
def test_two_more_seeds_are_two_trainings_of_each_batch_size_that_decides(kind: str, tmp_path: Path) -> None:
    before = searched(kind, tmp_path)
    deciding = {trial.batch_size for trial in before if kind == "grid" or trial.stage == "confirm"}
    further = searched(kind, tmp_path, seeds=5)  # of a staged search: as many as may still be worth their seconds
    assert len(deciding) > 1
    assert len(further) == 2 * len(deciding)
    assert not {trial.key for trial in before} & {trial.key for trial in further}
    assert searched(kind, tmp_path, seeds=5) == []


def test_a_batch_size_that_is_added_to_a_grid_is_all_that_is_trained(tmp_path: Path) -> None:
    searched("grid", tmp_path)
    further = searched("grid", tmp_path, batch_size=BatchSize.of(16, 64, 128, 256))
    assert [(trial.batch_size, trial.seed) for trial in further] == [(128, 0), (128, 1), (128, 2)]
    alone = searched("grid", tmp_path, batch_size=BatchSize.of(64), seeds=4)
    assert [(trial.batch_size, trial.seed) for trial in alone] == [(64, 3)]


def test_a_batch_size_that_is_added_to_a_staged_search_is_all_that_is_trained(tmp_path: Path) -> None:
    before = searched("tune", tmp_path)
    further = searched("tune", tmp_path, batch_size=BatchSize.of(16, 64, 128, 256))
    assert {trial.batch_size for trial in further} == {128}
    assert {trial.stage for trial in further} == {"search", "confirm"}
    (target,) = {trial.budget.goal for trial in before if trial.stage == "search"}
    assert {trial.budget.goal for trial in further if trial.stage == "search"} == {target}


def test_learning_rates_that_are_added_are_all_that_is_trained(tmp_path: Path) -> None:
    searched("grid", tmp_path, learning_rate=LearningRate.choices(1e-3, 1e-2))
    further = searched("grid", tmp_path, learning_rate=LearningRate.choices(1e-3, 1e-2, 1e-1))
    assert {trial.learning_rate for trial in further} == {0.1}
    assert len(further) == 3 * 3


def test_a_learning_rate_that_is_added_to_a_staged_search_moves_no_target(tmp_path: Path) -> None:
    before = searched("tune", tmp_path, learning_rate=LearningRate.choices(1e-4, 1e-2))
    further = searched("tune", tmp_path, learning_rate=LearningRate.choices(1e-4, 1e-3, 1e-2))
    assert {trial.learning_rate for trial in further} == {1e-3}  # the best by far
    assert {trial.stage for trial in further} == {"reference", "search", "confirm"}
    (target,) = {trial.budget.goal for trial in before if trial.stage == "search"}
    assert {trial.budget.goal for trial in further if trial.stage == "search"} == {target}


def test_more_proposals_are_confirmed_where_they_are_better(tmp_path: Path) -> None:
    def script(trial: Trial) -> list[float]:
        return [0.99] if trial.batch_size == 512 else [0.5 + 0.01 * trial.seed]

    searched("bayes", tmp_path, script, batch_size=BatchSize.of(16, 64, 256))
    further = searched("bayes", tmp_path, script, batch_size=BatchSize.of(512), max_trials=20)
    proposed = [trial for trial in further if trial.stage == "search"]
    assert len(proposed) == 14
    assert {trial.seed for trial in further if trial.stage == "confirm" and trial.batch_size == 512} == {1, 2, 3}


def test_a_grid_that_was_killed_while_it_grew_goes_on(tmp_path: Path) -> None:
    searched("grid", tmp_path)

    def killed(trial: Trial) -> list[float]:
        if trial.seed == 4:
            raise KeyboardInterrupt
        return curve(trial)

    with pytest.raises(KeyboardInterrupt):
        searched("grid", tmp_path, killed, seeds=5)
    further = searched("grid", tmp_path, seeds=5)
    assert [(trial.batch_size, trial.seed) for trial in further] == [(16, 4), (64, 4), (256, 4)]


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"learning_rate": LearningRate(0.1)}, "learning_rate was .* now 0.1 at batch size 32"),
        ({"objective": "loss"}, "objective was val_accuracy, now loss"),
    ],
)
def test_what_makes_another_search_is_refused_with_what_differs(
    asked: dict[str, Any], told: str, tmp_path: Path
) -> None:
    searched("bayes", tmp_path)
    objective = asked.pop("objective", "val_accuracy")
    given = {**FIRST, "max_trials": 6, "sampler": "random", **asked}
    tuner = tuning.BayesianOptimization(
        lambda: None, objective, directory=tmp_path, project_name="s", tracker=RecordingTracker(), **given
    )
    with pytest.raises(StudyError, match=told):
        tuner.run(arguments(), ScriptedExecutor(probes=probes))


def test_more_epochs_are_refused_with_what_would_be_trained_again(tmp_path: Path) -> None:
    trained = len(searched("grid", tmp_path))
    tuner = tuning.GridSearch(
        lambda: None, "val_accuracy", directory=tmp_path, project_name="s", tracker=RecordingTracker(), **FIRST
    )
    longer = SearchArguments(made_up_data(), epochs=9, verbose=False)
    with pytest.raises(StudyError, match=rf"from 5 to 9 epochs: .* Its trainings \({trained}\)"):
        tuner.run(longer, ScriptedExecutor())


def test_the_settings_of_a_study_are_those_of_all_that_it_holds() -> None:
    rule = "the model's own at batch size 32, sqrt rule"
    stored = {"batch_sizes": "8,32", "learning_rate": rule, "seeds": "5"}
    both = grown(stored, {"batch_sizes": "16", "learning_rate": "0.001,0.01", "seeds": "3"})
    assert both == {"batch_sizes": "8,16,32", "learning_rate": f"{rule} and 0.001,0.01", "seeds": "3"}
    assert grown(both, {"batch_sizes": "8", "learning_rate": rule})["learning_rate"] == both["learning_rate"]
    assert grown({"learning_rate": "0.01,0.1"}, {"learning_rate": "0.001"}) == {"learning_rate": "0.001,0.01,0.1"}


def test_memory_is_measured_for_all_sizes_of_a_study_where_a_larger_one_is_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, ...]] = []

    def measured(machine: Machine, *_: Any, sizes: tuple[int, ...], **__: Any) -> Machine:
        asked.append(sizes)
        return replace(machine, memory_is_known=True)

    monkeypatch.setattr("tuning.search.search.with_memory", measured)
    searched("grid", tmp_path)
    searched("grid", tmp_path, seeds=4)
    searched("grid", tmp_path, batch_size=BatchSize.of(512))
    assert asked == [(16, 64, 256), (16, 64, 256, 512)]


def test_what_was_not_measured_of_larger_batch_sizes_is_measured_again() -> None:
    limit = MemoryLimit(2**30, "available memory")
    fits, full = (
        MemoryFindings((Tried(8, True, 10), Tried(largest, True, 20)), limit, 0.1, 64, "keras") for largest in (64, 32)
    )
    stored, larger, between = ({"batch_sizes": sizes} for sizes in ("8,64", "8,64,128", "8,16,64"))
    for memory, settings, forgets in ((None, larger, True), (fits, larger, True), (full, larger, False)):
        machine = Machine(True, memory, throughput_again=ThroughputFindings((), {}))
        found = to_be_measured_again(machine, stored, settings)
        assert (found.memory_is_known, found.throughput_again) == (not forgets, None)
    machine = Machine(True, fits, throughput_again=ThroughputFindings((), {}))
    assert to_be_measured_again(machine, stored, between) == Machine(True, fits)
    assert to_be_measured_again(machine, stored, stored) == machine
    assert to_be_measured_again(machine, {}, larger) == machine
