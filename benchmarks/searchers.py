"""Searchers for search_quality.py: each asks for a cell of a problem, is told what came of it, and names its best."""

from __future__ import annotations

import importlib.util
import itertools
import tempfile
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

import keras_tuner
import numpy as np
import optuna
from keras_tuner.src.tuners.bayesian import BayesianOptimizationOracle
from optuna.trial import TrialState
from search_problems import BATCH_SIZE, LEARNING_RATE, Cell, Problem

from search_spaces import BatchSize, SearchSpace, Setting
from search_spaces.entry import entries_of
from search_spaces.learning_rate import LearningRate
from tuning.instructions import Budget
from tuning.objective import Objective
from tuning.plans.gp_sampler import GaussianProcessSampler
from tuning.plans.samplers import Proposals
from tuning.study.encoding import Encoding
from tuning.trial import Status, Trial, TrialOutcome


class Searcher(Protocol):
    """One way to search, for one repetition."""

    def ask(self) -> Cell:
        """The cell to train next."""

    def tell(self, cell: Cell, accuracy: float | None, seconds: float) -> None:
        """What came of it; an accuracy of None for memory that ran out."""

    def best(self) -> Cell | None:
        """The cell that it would recommend now, None before anything completed."""


class Luckiest:
    """What all but ours recommend: the cell with the best single accuracy."""

    def __init__(self) -> None:
        self._told: list[tuple[float, Cell]] = []

    def tell(self, cell: Cell, accuracy: float | None, seconds: float) -> None:
        if accuracy is not None:
            self._told.append((accuracy, cell))

    def best(self) -> Cell | None:
        return max(self._told)[1] if self._told else None


class Listed(Luckiest):
    """Cells in a given order."""

    def __init__(self, cells: Any) -> None:
        super().__init__()
        self._cells = iter(cells)

    def ask(self) -> Cell:
        return tuple(int(index) for index in next(self._cells))


def random_search(problem: Problem, seed: int, trials: int) -> Searcher:
    """Cells by chance, none twice."""
    cells = np.random.default_rng(seed).permutation(int(np.prod(problem.shape)))[:trials]
    return Listed(np.column_stack(np.unravel_index(cells, problem.shape)))


def grid_search(problem: Problem, seed: int, trials: int) -> Searcher:
    """Every batch size with every learning rate in an order by chance, all else in the middle."""
    chosen = [
        range(count) if name in (BATCH_SIZE, LEARNING_RATE) else [count // 2]
        for name, count in zip(problem.values, problem.shape, strict=True)
    ]
    return Listed(np.random.default_rng(seed).permutation(list(itertools.product(*chosen))))


class KerasTunerSearch(Luckiest):
    """KerasTuner's BayesianOptimization on ordered choices; memory that runs out is a failed trial."""

    def __init__(self, problem: Problem, seed: int, trials: int) -> None:
        super().__init__()
        self._values = problem.values
        space = keras_tuner.HyperParameters()
        for name, values in problem.values.items():
            space.Choice(name, list(range(len(values))), ordered=True)
        self._oracle = BayesianOptimizationOracle(
            objective=keras_tuner.Objective("accuracy", "max"),
            max_trials=trials,
            seed=seed + 1,  # keras-tuner 1.4.8 takes a seed of 0 as none
            hyperparameters=space,
            max_consecutive_failed_trials=-1,  # three in a row would end the search
        )
        self._oracle.verbose = 0
        self._directory = tempfile.TemporaryDirectory()
        self._oracle._set_project_dir(self._directory.name, "search")

    def ask(self) -> Cell:
        self._trial = self._oracle.create_trial("tuner0")
        return tuple(int(self._trial.hyperparameters.values[name]) for name in self._values)

    def tell(self, cell: Cell, accuracy: float | None, seconds: float) -> None:
        super().tell(cell, accuracy, seconds)
        if accuracy is not None:
            self._oracle.update_trial(self._trial.trial_id, {"accuracy": accuracy})
        self._trial.status = "COMPLETED" if accuracy is not None else "FAILED"
        self._oracle.end_trial(self._trial)


class OptunaSearch(Luckiest):
    """An Optuna sampler on the indices; memory that runs out is a failed trial, as an exception makes it."""

    def __init__(self, problem: Problem, sampler: optuna.samplers.BaseSampler) -> None:
        super().__init__()
        self._problem = problem
        self._study = optuna.create_study(direction="maximize", sampler=sampler)

    def ask(self) -> Cell:
        self._trial = self._study.ask()
        shape = zip(self._problem.values, self._problem.shape, strict=True)
        return tuple(self._trial.suggest_int(name, 0, count - 1) for name, count in shape)

    def tell(self, cell: Cell, accuracy: float | None, seconds: float) -> None:
        super().tell(cell, accuracy, seconds)
        self._study.tell(self._trial, accuracy, state=TrialState.COMPLETE if accuracy is not None else TrialState.FAIL)


class OurSearch:
    """This project's proposals as `bayes` makes them; it recommends what it expects to be best."""

    def __init__(self, problem: Problem, seed: int, trials: int) -> None:
        self._values = problem.values
        objective = Objective("accuracy", "max")
        encoding = Encoding(_space_of(problem), search_rates=True)
        sampler = GaussianProcessSampler(encoding, budget=trials, objective=objective, seed=seed)
        self._proposals = Proposals(sampler, encoding, objective)
        self._n_asked = 0

    def ask(self) -> Cell:
        self._trial = Trial(self._proposals.propose(), self._n_asked, budget=Budget(1), trial_id=f"{self._n_asked:04d}")
        self._n_asked += 1
        self._proposals.follow(self._trial)
        return self._cell(self._trial.setting)

    def tell(self, cell: Cell, accuracy: float | None, seconds: float) -> None:
        status = Status.COMPLETED if accuracy is not None else Status.OUT_OF_MEMORY
        outcome = TrialOutcome(self._trial.trial_id, status, seconds=seconds or None)
        self._proposals.follow(replace(self._trial, outcome=outcome, score=accuracy))

    def best(self) -> Cell | None:
        expected = self._proposals.expected()
        return self._cell(max(expected, key=lambda setting: expected[setting])) if expected else None

    def _cell(self, setting: Setting) -> Cell:
        chosen = {
            **dict(setting.hyperparameters),
            BATCH_SIZE: setting.batch_size,
            LEARNING_RATE: setting.learning_rate,
        }
        return tuple(list(values).index(chosen[name]) for name, values in self._values.items())


def searchers() -> dict[str, Callable[[Problem, int, int], Searcher]]:
    """Every searcher by its name, as a function of problem, seed and number of trials."""
    found: dict[str, Callable[[Problem, int, int], Searcher]] = {
        "random": random_search,
        "grid": grid_search,
        "KerasTuner Bayesian": KerasTunerSearch,
        "Optuna TPE": lambda problem, seed, _: OptunaSearch(problem, optuna.samplers.TPESampler(seed=seed)),
    }
    if importlib.util.find_spec("torch"):
        found["Optuna GP"] = lambda problem, seed, _: OptunaSearch(problem, optuna.samplers.GPSampler(seed=seed))
    return {**found, "this project": OurSearch}


def _space_of(problem: Problem) -> SearchSpace:
    hp = keras_tuner.HyperParameters()
    for name, values in problem.values.items():
        if name not in (BATCH_SIZE, LEARNING_RATE):
            hp.Choice(name, [float(value) for value in values])  # one type for all
    return SearchSpace(
        BatchSize.of(*(int(size) for size in problem.values[BATCH_SIZE])),
        LearningRate.choices(*problem.values[LEARNING_RATE]),
        optimizer="Adam",
        entries=entries_of(hp.space),
    )
