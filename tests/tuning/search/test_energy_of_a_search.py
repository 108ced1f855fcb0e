"""Energy from the worker's meter to the answer of a search, and what `cost` decides there."""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from search_spaces import BatchSize, SearchSpace
from tuning import GridSearch, StagedSearch
from tuning.loops import session
from tuning.machine.machine import Machine
from tuning.objective import Objective
from tuning.plans.staged import stages
from tuning.record.tracker import NullTracker


class Meter:
    """Its readings grow by as much as an epoch takes: less with every training."""

    def __init__(self) -> None:
        self.read = 0

    def joules(self) -> float:
        self.read += 1
        return float(self.read) ** 0.5

    def state(self) -> dict[str, float]:
        return {}


def build_model() -> Any:
    import keras

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@pytest.fixture
def metered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuning.loops.energy_windows.LEAST_SECONDS", 0.0)
    whole = functools.partial(session.TrainingSession, energy=Meter)
    monkeypatch.setattr(session, "TrainingSession", whole)


def test_a_search_answers_by_the_energy_that_its_trials_read(
    metered: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(60, 4)).astype("float32"), np.zeros(60, dtype="int64")
    y[-1] = 1
    tuner = GridSearch(
        build_model,
        objective="val_accuracy",
        batch_size=BatchSize.of(10, 20),
        seeds=2,
        tracker=NullTracker(),
        in_process=True,
        probe=False,
        quiet=True,
        cost="energy",
        loop="keras",
    )
    tuner.search(x, y, validation_data=(x, y), epochs=2)
    found = tuner.recommend()
    assert str(found.cost).startswith("joules")
    rows = {row.batch_size: row for row in found.table}
    assert all(row.energy_joules and row.mean_watts and row.joules_per_example for row in rows.values())
    assert found.energy_note == ""
    assert str(tuner.recommend(cost="time").cost).startswith("seconds")


def test_a_staged_search_asks_for_further_seeds_by_its_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    tuner = StagedSearch(build_model, objective="val_accuracy", tracker=NullTracker(), cost="energy")
    setup: Any = SimpleNamespace(
        objective=Objective("val_accuracy"),
        arguments=SimpleNamespace(epochs=3),
        n_train=60,
        space=SearchSpace(BatchSize.of(10, 20), None),
    )
    plan: Any = tuner.method().make_plan(setup, Machine())
    state: Any = SimpleNamespace(
        goal=plan._goal,
        space=setup.space,
        user=SimpleNamespace(examples_per_second=lambda sizes: {}),
        ended=lambda *stages: [],
    )
    monkeypatch.setattr(stages, "judged_target", lambda *of: 0.9)
    monkeypatch.setattr(stages, "sizes_worth_another_seed", lambda trials, **asked: asked)
    asked: Any = stages._worth_another(state, plan)
    assert (plan._goal.cost, asked["cost"]) == ("energy", "energy")
