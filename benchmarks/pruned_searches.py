"""Searches of pruned_bayes.py: `bayes` on a table of learning curves, on devices in virtual time, halved or not."""

from __future__ import annotations

import heapq
import itertools
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from curve_problems import CurveProblem
from pruned_candidates import Censored, LastScore, Line
from scipy.stats import qmc
from search_problems import BATCH_SIZE, LEARNING_RATE, Cell

from search_spaces import BatchSize, SearchSpace, Setting
from search_spaces.entry import Entry
from search_spaces.learning_rate import LearningRate
from tuning.instructions import Budget
from tuning.objective import Objective
from tuning.plans.gp_sampler import GaussianProcessSampler
from tuning.plans.halving import RUNGS, Course, is_behind, rung_reached
from tuning.plans.samplers import Proposals
from tuning.study.encoding import Encoding
from tuning.trial import EpochReport, Status, Trial, TrialOutcome

OBJECTIVE = Objective("score", "max")
TRIALS, MOST_TRIALS = 30, 200
_PER_SIZE = 3


@dataclass(frozen=True)
class Way:
    """A way to search.

    Args:
        sampler: Proposes; the classes differ in what they take stopped trainings to say.
        halves: Whether trainings that are behind others of their batch size are stopped.
        screens: Whether it begins with settings that train to the first rung, of which the best of each size goes on.
    """

    sampler: type[GaussianProcessSampler] = GaussianProcessSampler
    halves: bool = True
    screens: bool = False


WHOLE, LAST = "nothing is stopped", "the score at the rung"
WAYS = {
    WHOLE: Way(halves=False),
    LAST: Way(LastScore),
    "worse than the best": Way(Censored),
    "a line": Way(Line),
    "a line and a process": Way(),
    "the same, one rung first": Way(screens=True),
}


@dataclass(frozen=True)
class Run:
    """One repetition.

    Args:
        regrets: (trials,) of the pick after each training that ended.
        seconds: (trials,) of training spent by then, on all devices together.
        times: (trials,) the time then, in seconds.
        n_stopped: How many were stopped.
    """

    regrets: Any
    seconds: Any
    times: Any
    n_stopped: int

    def regret_at(self, seconds: float) -> float:
        """The regret after so many seconds of training."""
        ended = np.flatnonzero(self.seconds <= seconds)
        return float(self.regrets[ended[-1] if len(ended) else 0])


class Search:
    """A search, for one repetition.

    Args:
        problem: Its curves.
        way: How it searches.
        repetition: Seeds all chance.
        devices: How many train at once.
    """

    def __init__(self, problem: CurveProblem, way: Way, repetition: int, devices: int = 1) -> None:
        self._problem, self._way, self._repetition, self._devices = problem, way, repetition, devices
        encoding = Encoding(space_of(problem), search_rates=True)
        sampler = way.sampler(encoding, budget=TRIALS, objective=OBJECTIVE, seed=repetition)
        self._proposals = Proposals(sampler, encoding, OBJECTIVE)
        self._seeds = np.random.default_rng([repetition, 7]).permutation(problem.table.accuracy.shape[-1])
        self._tries: defaultdict[Cell, int] = defaultdict(int)
        self._peers: defaultdict[tuple[int, int], dict[str, Trial]] = defaultdict(dict)
        self._completed: set[Setting] = set()
        self._numbers = itertools.count()
        self._running: list[tuple[float, int, Trial]] = []
        self._now = self._spent = 0.0
        self._history: list[tuple[float, float, float]] = []
        self._n_stopped = 0

    def run(self, trials: int, seconds: float) -> Run:
        """Start trainings until so many have, or so many seconds are spent, and let them end."""
        if self._way.screens:
            self._screen()
        while True:
            while len(self._running) < self._devices and self._n_started < trials and self._spent < seconds:
                self._schedule(self._start(self._proposals.propose()))
            if not self._running:
                return Run(*map(np.array, zip(*self._history, strict=True)), self._n_stopped)
            self._now, _, trial = heapq.heappop(self._running)
            trial, status = self._train_epoch(trial)
            if status is None and self._is_behind(trial):
                status = Status.PRUNED
            if status is None:
                self._schedule(trial)
            else:
                self._end(trial, status)

    @property
    def _n_started(self) -> int:
        return sum(self._tries.values())

    def _start(self, setting: Setting) -> Trial:
        cell = self._cell(setting)
        trial = Trial(
            setting, self._tries[cell], budget=Budget(self._problem.epochs), trial_id=f"{self._n_started:04d}"
        )
        self._tries[cell] += 1
        self._proposals.follow(trial)
        return trial

    def _schedule(self, trial: Trial) -> None:
        heapq.heappush(self._running, (self._now + self._epoch_seconds(trial), next(self._numbers), trial))

    def _row(self, trial: Trial) -> tuple[int, ...]:
        return *self._cell(trial.setting), int(self._seeds[trial.seed % len(self._seeds)])

    def _epoch_seconds(self, trial: Trial) -> float:
        return float(self._problem.table.seconds[self._row(trial)]) / self._problem.epochs

    def _train_epoch(self, trial: Trial) -> tuple[Trial, Status | None]:
        """The trial an epoch later, and how it ended, if it did."""
        epoch, seconds = len(trial.reports) + 1, self._epoch_seconds(trial)
        self._spent += seconds
        score = float(self._problem.curves[(*self._row(trial), epoch - 1)])
        if np.isnan(score):
            return trial, Status.DIVERGED
        seen = epoch * self._problem.n_train
        report = EpochReport(trial.trial_id, epoch, seen, epoch, {OBJECTIVE.name: score}, epoch * seconds)
        trial = replace(trial, reports=(*trial.reports, report))
        self._peers[trial.batch_size, trial.seed][trial.trial_id] = trial
        return trial, Status.COMPLETED if epoch == self._problem.epochs else None

    def _is_behind(self, trial: Trial) -> bool:
        """As `Halving.should_stop` has it."""
        curve = _course(trial)
        rung = rung_reached(curve.examples, self._problem.epochs * self._problem.n_train)
        if rung is None or not self._way.halves:
            return False
        others = self._peers[trial.batch_size, trial.seed].values()
        peers = [each for each in others if each.trial_id != trial.trial_id and each.status is not Status.DIVERGED]
        return is_behind(curve, map(_course, peers), rung)

    def _end(self, trial: Trial, status: Status) -> None:
        seconds = self._epoch_seconds(trial) * max(1, len(trial.reports))
        score = trial.reports[-1].metrics[OBJECTIVE.name] if status is Status.COMPLETED else None
        trial = replace(trial, outcome=TrialOutcome(trial.trial_id, status, seconds=seconds), score=score)
        self._peers[trial.batch_size, trial.seed][trial.trial_id] = trial
        self._n_stopped += status is Status.PRUNED
        if status is Status.COMPLETED:
            self._completed.add(trial.setting)
        self._proposals.follow(trial)
        self._history.append((self._problem.table.regret(self._best()), self._spent, self._now))

    def _best(self) -> Cell | None:
        expected = self._proposals.expected()
        found = [setting for setting in expected if setting in self._completed]
        return self._cell(max(found, key=lambda setting: expected[setting])) if found else None

    def _screen(self) -> None:
        """Train three settings each of the middle, largest and smallest batch size to the first rung, the best on."""
        values = list(self._problem.table.values.items())
        sizes = sorted(self._problem.table.values[BATCH_SIZE])
        shares = qmc.LatinHypercube(len(values), rng=np.random.default_rng(self._repetition)).random(3 * _PER_SIZE)
        for group, size in zip(np.split(shares, 3), (sizes[len(sizes) // 2], sizes[-1], sizes[0]), strict=True):
            came = []
            for row in group:
                chosen = {name: some[int(share * len(some))] for share, (name, some) in zip(row, values, strict=True)}
                trial, status = self._train_to(RUNGS[0], self._start(_setting({**chosen, BATCH_SIZE: size})))
                if status is None:
                    came.append(trial)
                else:
                    self._end(trial, status)
            came.sort(key=lambda trial: trial.reports[-1].metrics[OBJECTIVE.name])
            if came:
                trial, status = self._train_to(1.0, came.pop())
                self._end(trial, status or Status.COMPLETED)
            for trial in came:
                self._end(trial, Status.PRUNED)
        self._now = self._spent

    def _train_to(self, share: float, trial: Trial) -> tuple[Trial, Status | None]:
        status = None
        while status is None and len(trial.reports) < share * self._problem.epochs:
            trial, status = self._train_epoch(trial)
        return trial, status

    def _cell(self, setting: Setting) -> Cell:
        chosen = {**dict(setting.hyperparameters), BATCH_SIZE: setting.batch_size, LEARNING_RATE: setting.learning_rate}
        return tuple(
            list(map(float, values)).index(chosen[name]) for name, values in self._problem.table.values.items()
        )


def space_of(problem: CurveProblem) -> SearchSpace:
    """The search space of a problem."""
    values = problem.table.values
    entries = tuple(
        Entry(name, "Choice", tuple(map(float, some)), default=float(some[0]))
        for name, some in values.items()
        if name not in (BATCH_SIZE, LEARNING_RATE)
    )
    sizes = BatchSize.of(*(int(size) for size in values[BATCH_SIZE]))
    rates = LearningRate.choices(*map(float, values[LEARNING_RATE]))
    return SearchSpace(sizes, rates, optimizer="Adam", entries=entries)


def _setting(chosen: dict[str, float]) -> Setting:
    rest = {name: float(value) for name, value in chosen.items() if name not in (BATCH_SIZE, LEARNING_RATE)}
    return Setting(int(chosen[BATCH_SIZE]), float(chosen[LEARNING_RATE]), tuple(sorted(rest.items())))


def _course(trial: Trial) -> Course:
    examples, scores = trial.curve(OBJECTIVE.name)
    is_alive = trial.status in (None, Status.COMPLETED)
    return Course(examples, scores, is_alive=is_alive, has_ended=trial.status is not None)
