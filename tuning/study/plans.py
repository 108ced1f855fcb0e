"""What to try next: a grid's queue, or a sampler's proposal followed by a confirmation on fresh seeds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from statistics import fmean
from typing import Any, Protocol

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from search_spaces.space import SearchSpace, Setting
from tuning.stats.results import CONFIRM, SEARCH
from tuning.study.encoding import Encoding
from tuning.study.records import OPENING, Budget, TrialRecord, opening
from tuning.trial import Status


class Pause(Enum):
    """Why there is no trial to start now."""

    WAIT = "what comes next depends on trials that still run"
    DONE = "everything planned has been started"


@dataclass(frozen=True)
class Planned:
    """A trial to start: a setting, a seed, what it is run for, and its budget if that is not the search's."""

    setting: Setting
    seed: int
    stage: str = SEARCH
    budget: Budget | None = None


class Encoder(Protocol):
    """Tells Optuna of a setting."""

    def encode(self, setting: Setting) -> tuple[dict[str, Any], dict[str, BaseDistribution]]:
        """Optuna's values and distributions."""


class Plan(Protocol):
    """Decides what a study tries, from what it has tried."""

    @property
    def encoding(self) -> Encoder:
        """How Optuna is told of its settings."""

    def total(self, records: Sequence[TrialRecord]) -> int:
        """How many trials the plan comes to with those there are, as far as can be said by now."""

    def next(self, study: optuna.Study, records: Sequence[TrialRecord], trial_id: str) -> optuna.Trial | Pause:
        """Start the next trial in the study, its `OPENING` set, or say why there is none."""


def ask_for(study: optuna.Study, planned: Planned, encoding: Encoder, trial_id: str) -> optuna.Trial:
    """Start an Optuna trial with just the values of a planned one."""
    params, distributions = encoding.encode(planned.setting)
    opened = opening(trial_id, planned.setting, planned.seed, planned.stage, planned.budget)
    study.enqueue_trial(params, {OPENING: opened})
    return study.ask(distributions)


def owed(records: Sequence[TrialRecord]) -> Planned | None:
    """The first interrupted trial that nobody has run again."""
    settled = {(record.setting, record.seed, record.stage) for record in records if record.is_settled}
    for record in records:
        if not record.is_settled and (record.setting, record.seed, record.stage) not in settled:
            return Planned(record.setting, record.seed, record.stage, record.budget)
    return None


class GridPlan:
    """Every setting with every seed, once; all settings at the first seed before any at the second.

    Args:
        space: Whose grid is run.
        seeds: How many seeds, 0, 1, 2 and so on; the same for every setting.
        max_trials: Plan no more than this many trials; None for all.
    """

    def __init__(self, space: SearchSpace, seeds: int, *, max_trials: int | None = None) -> None:
        self.encoding = Encoding(space, search_rates=False)
        self._planned = [Planned(setting, seed) for seed in range(seeds) for setting in space.grid()][:max_trials]

    def total(self, records: Sequence[TrialRecord]) -> int:  # noqa: ARG002  (a grid is known from the start)
        return len(self._planned)

    def next(self, study: optuna.Study, records: Sequence[TrialRecord], trial_id: str) -> optuna.Trial | Pause:
        started = {(record.setting, record.seed) for record in records if record.is_settled}
        for planned in self._planned:
            if (planned.setting, planned.seed) not in started:
                return ask_for(study, planned, self.encoding, trial_id)
        return Pause.DONE


class BayesianPlan:
    """A sampler's proposals, then the best of the leading batch sizes on fresh seeds.

    A search's winner is too good by luck; so the leaders are trained again with seeds that the search has not used,
    the same for each, and judged by those.

    Args:
        space: What may be tried.
        max_trials: Proposals.
        seeds: Fresh seeds per confirmed batch size; below 2 nothing is confirmed.
        maximize: Whether a larger objective is better.
        leaders: Batch sizes to confirm.
        expected: What the sampler expects of the settings tried, larger being better, so that a lucky trial alone
            makes no leader; where it is None, the mean score of each.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        max_trials: int,
        seeds: int,
        maximize: bool,
        leaders: int = 3,
        expected: Callable[[optuna.Study], Mapping[Setting, float] | None] = lambda _: None,
    ) -> None:
        self.encoding = Encoding(space, search_rates=True)
        self._max_trials = max_trials
        self._seeds = seeds if seeds > 1 else 0
        self._maximize, self._expected = maximize, expected
        self._leading: list[Setting] = []
        self._leaders = min(leaders, len(space.batch_size.values()))

    def total(self, records: Sequence[TrialRecord]) -> int:  # noqa: ARG002  (at most so many)
        return self._max_trials + self._leaders * self._seeds

    def next(self, study: optuna.Study, records: Sequence[TrialRecord], trial_id: str) -> optuna.Trial | Pause:
        searched = [record for record in records if record.stage == SEARCH and record.is_settled]
        if len(searched) < self._max_trials and not self._exhausted(searched):
            trial = study.ask()
            setting = self._suggest(trial)
            trial.set_user_attr(OPENING, opening(trial_id, setting, self._seed_for(setting, searched), SEARCH))
            return trial
        if any(record.status is None for record in searched):
            return Pause.WAIT
        return self._confirm(study, records, searched, trial_id)

    def _seed_for(self, setting: Setting, searched: Sequence[TrialRecord]) -> int:
        """Seed 0; for a setting that is proposed again the next one that the confirmation does not use."""
        repeats = sum(record.setting == setting for record in searched)
        return 0 if repeats == 0 else self._seeds + repeats

    def _suggest(self, trial: optuna.Trial) -> Setting:
        params = {name: suggest(trial, name, found) for name, found in self.encoding.unconditional().items()}
        while further := self.encoding.conditional(params):
            params |= {name: suggest(trial, name, found) for name, found in further.items()}
        return self.encoding.decode(params)

    def _exhausted(self, searched: Sequence[TrialRecord]) -> bool:
        """Whether nothing is left to propose: all tried, or even the smallest size out of memory."""
        tried = {record.setting for record in searched}
        settings = self.encoding.settings()
        if settings is None:
            return any(is_out_of_memory(Setting(1, None, setting.hyperparameters), searched) for setting in tried)
        return all(setting in tried or is_out_of_memory(setting, searched) for setting in settings)

    def _confirm(
        self, study: optuna.Study, records: Sequence[TrialRecord], searched: Sequence[TrialRecord], trial_id: str
    ) -> optuna.Trial | Pause:
        started = {(record.setting, record.seed) for record in records if record.stage == CONFIRM and record.is_settled}
        if self._seeds and not self._leading:
            self._leading = self._leaders_of(study, records, searched)
        for seed in range(1, self._seeds + 1):
            for setting in self._leading:
                if (setting, seed) not in started:
                    return ask_for(study, Planned(setting, seed, CONFIRM), self.encoding, trial_id)
        return Pause.DONE

    def _leaders_of(
        self, study: optuna.Study, records: Sequence[TrialRecord], searched: Sequence[TrialRecord]
    ) -> list[Setting]:
        """The best setting of each leading batch size; those that an earlier driver began to confirm come first."""
        gains = self._gains(study, searched)
        begun = [record.setting for record in records if record.stage == CONFIRM]
        best: dict[int, Setting] = {}
        for setting in (*begun, *sorted(gains, key=lambda setting: -gains[setting])):
            best.setdefault(setting.batch_size, setting)
        return list(best.values())[: self._leaders]

    def _gains(self, study: optuna.Study, searched: Sequence[TrialRecord]) -> dict[Setting, float]:
        """How good the settings are that completed; larger is better."""
        scores: dict[Setting, list[float]] = defaultdict(list)
        for record in searched:
            if record.score is not None:
                scores[record.setting].append(record.score if self._maximize else -record.score)
        expected = self._expected(study) or {}
        return {setting: expected.get(setting, fmean(values)) for setting, values in scores.items()}


def suggest(trial: optuna.Trial, name: str, distribution: BaseDistribution) -> object:
    """Ask a running Optuna trial for a value from a distribution."""
    if isinstance(distribution, CategoricalDistribution):
        return trial.suggest_categorical(name, distribution.choices)
    if isinstance(distribution, FloatDistribution):
        return trial.suggest_float(
            name, distribution.low, distribution.high, step=distribution.step, log=distribution.log
        )
    assert isinstance(distribution, optuna.distributions.IntDistribution)
    return trial.suggest_int(name, distribution.low, distribution.high, step=distribution.step, log=distribution.log)


def is_out_of_memory(setting: Setting, records: Iterable[TrialRecord]) -> bool:
    """Whether a setting is ruled out: memory grows with the batch size, so a size that failed rules out all larger.

    A size counts as failed only above every size that completed with the same hyperparameters; below that, the worker
    died of something else.
    """
    same = [record for record in records if record.setting.hyperparameters == setting.hyperparameters]
    fits = max((r.setting.batch_size for r in same if r.status is Status.COMPLETED), default=0)
    fails = [r.setting.batch_size for r in same if r.status is Status.OUT_OF_MEMORY and r.setting.batch_size > fits]
    return bool(fails) and setting.batch_size >= min(fails)
