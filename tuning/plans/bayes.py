"""BayesianPlan: a sampler's proposals, then the best of the leading batch sizes on fresh seeds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean

from optuna.samplers import BaseSampler

from search_spaces.space import SearchSpace, Setting
from tuning.instructions import Budget
from tuning.objective import Objective
from tuning.plans.plan import Decision, JudgedByOptions, MemoryWall, Pause
from tuning.plans.samplers import Proposals
from tuning.study.encoding import Encoding
from tuning.study.records import ChangeReader, Records
from tuning.study.study import PlainEncoder
from tuning.trial import CONFIRM, SEARCH, Trial

MakeSampler = Callable[[Encoding, Callable[[Setting], bool]], BaseSampler]


@dataclass(frozen=True)
class BayesianBudget:
    """How much a Bayesian search may try.

    Args:
        proposals: How many settings are proposed.
        seeds: Fresh seeds per confirmed batch size; below 2 nothing is confirmed.
        of_trial: How long each trial may train.
        leaders: How many batch sizes are confirmed at most.
    """

    proposals: int
    seeds: int
    of_trial: Budget
    leaders: int = 3


class BayesianPlan(JudgedByOptions):
    """Proposes settings, then has the leaders trained again.

    A search's winner is too good by luck; so the leaders are trained again with seeds that the search has not used, the
    same for each, and judged by those.

    Args:
        space: What may be tried.
        budget: How much.
        objective: The metric that decides.
        make_sampler: Returns the sampler, from the encoding and a function that tells which settings are acceptable.
        largest_fitting: The largest batch size that is known to fit; None where nobody measured.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        budget: BayesianBudget,
        objective: Objective,
        make_sampler: MakeSampler,
        largest_fitting: int | None = None,
    ) -> None:
        self.encoder = PlainEncoder(space.entries)
        self._encoding = Encoding(space, search_rates=True)
        self._budget, self._objective, self._largest_fitting = budget, objective, largest_fitting
        self._seeds = budget.seeds if budget.seeds > 1 else 0
        self._n_leaders = min(budget.leaders, len(space.batch_size.values()))
        self._proposals = Proposals(make_sampler(self._encoding, self._is_acceptable), self._encoding, objective)
        self._reader = ChangeReader()
        self._searched: dict[str, Trial] = {}
        self._running: set[str] = set()
        self._tries: defaultdict[Setting, int] = defaultdict(int)
        self._wall = MemoryWall()
        self._begun: dict[Setting, None] = {}
        self._found_since: set[Setting] = set()
        self._leading: list[Setting] = []
        listed = self._encoding.settings()
        self._untried = None if listed is None else dict.fromkeys(listed)

    def next(self, records: Records) -> Decision:
        """Return a proposal while there are any to make, then the confirming trials."""
        self._follow(records)
        if len(self._searched) < self._budget.proposals and not self._is_exhausted():
            setting = self._proposals.propose()
            return Trial(setting, self._seed_for(setting), SEARCH, self._budget.of_trial)
        if self._running:
            return Pause.WAIT
        return self._confirm(records)

    def total(self, records: Records) -> int:
        """Return the most trials that there will be; more where an earlier search has confirmed others."""
        return max(records.n_settled, self._budget.proposals + self._n_leaders * self._seeds)

    def _follow(self, records: Records) -> None:
        """Take in what has changed since the last question."""
        for trial in self._reader.new(records):
            if trial.stage == SEARCH:
                self._follow_searched(trial)
            elif trial.stage == CONFIRM:
                self._begun.setdefault(trial.setting)

    def _follow_searched(self, trial: Trial) -> None:
        before = self._searched.pop(trial.trial_id, None)
        if before is None:
            self._tries[trial.setting] += 1
            if self._begun:
                self._found_since.add(trial.setting)
        if trial.is_settled:
            self._searched[trial.trial_id] = trial
        else:
            self._tries[trial.setting] -= 1
        (self._running.add if trial.status is None else self._running.discard)(trial.trial_id)
        if self._untried is not None:
            self._untried.pop(trial.setting, None)
        self._wall.add(trial)
        self._proposals.follow(trial)

    def _is_acceptable(self, setting: Setting) -> bool:
        """Return whether a setting is new, and memory is not known to run out there."""
        if self._wall.rules_out(setting):
            return False
        if self._largest_fitting is not None and setting.batch_size > self._largest_fitting:
            return False
        return self._encoding.has_conditions or not self._tries[setting]

    def _seed_for(self, setting: Setting) -> int:
        """Return seed 0; for a setting that is proposed again the next one that the confirmation does not use."""
        repeats = self._tries[setting]
        return 0 if repeats == 0 else self._seeds + repeats

    def _is_exhausted(self) -> bool:
        """Return whether nothing is left to propose: all tried, or even the smallest size out of memory."""
        if self._untried is None:
            return self._wall.rules_out_all
        return all(self._wall.rules_out(setting) for setting in self._untried)

    def _confirm(self, records: Records) -> Decision:
        if self._seeds and not self._leading:
            self._leading.extend(self._leaders())
        for seed in range(1, self._seeds + 1):
            for setting in self._leading:
                trial = Trial(setting, seed, CONFIRM, self._budget.of_trial)
                if not records.has(trial):
                    return trial
        return Pause.DONE

    def _leaders(self) -> list[Setting]:
        """Return the best setting of each leading batch size; those that an earlier driver began to confirm first.

        Where more was proposed after that, a batch size keeps the setting that was confirmed unless a newer one is
        better, and the leaders are chosen anew.
        """
        gains = self._gains()
        best: dict[int, Setting] = {}
        ranked = sorted(gains, key=lambda setting: -gains[setting])
        if not self._found_since:
            ranked = [*self._begun, *ranked]
        else:
            confirmed = {setting.batch_size for setting in self._begun}
            ranked = [s for s in ranked if s in self._begun or s in self._found_since or s.batch_size not in confirmed]
        for setting in ranked:
            best.setdefault(setting.batch_size, setting)
        return list(best.values())[: self._n_leaders]

    def _gains(self) -> dict[Setting, float]:
        """Return how good the settings are that completed; larger is better.

        What the sampler expects of a setting counts, so that a lucky trial alone makes no leader; where it has no view,
        the mean score.
        """
        scores: defaultdict[Setting, list[float]] = defaultdict(list)
        for trial in self._searched.values():
            if trial.score is not None:
                scores[trial.setting].append(self._objective.sign * trial.score)
        expected = self._proposals.expected()
        return {setting: expected.get(setting, fmean(values)) for setting, values in scores.items()}
