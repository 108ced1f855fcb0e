"""AllocatedGridPlan: a grid on two seeds, then further seeds for the batch sizes that are worth them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from search_spaces.space import SearchSpace, Setting
from tuning.instructions import Budget
from tuning.objective import Objective
from tuning.plans.plan import Decision, JudgedByOptions, Pause
from tuning.stats.arms import group_into_arms
from tuning.stats.next_seed import MOST_SEEDS, sizes_worth_another_seed
from tuning.stats.rules import FASTEST, LEAST_SEEDS, TIME
from tuning.study.records import ChangeReader, Records
from tuning.study.study import PlainEncoder
from tuning.trial import Trial


@dataclass(frozen=True)
class SeedGoal:
    """What the seeds of a grid are to decide.

    Args:
        objective: The metric that decides.
        rule: How the recommendation picks.
        tolerance: A loss of objective accepted for a cheaper batch size.
        target: The score by the time to which batch sizes are judged; None for their final scores.
        cost: "time" or "energy".
        most_seeds: The seeds that no batch size gets more of.
    """

    objective: Objective
    rule: str = FASTEST
    tolerance: float | None = None
    target: float | None = None
    cost: str = TIME
    most_seeds: int = MOST_SEEDS


class AllocatedGridPlan(JudgedByOptions):
    """Every setting on two seeds; then, a seed at a time, the best setting of each batch size that is worth another.

    Which are worth one, `sizes_worth_another_seed` says: by the trials of the seeds before, all of which have ended. So
    a search that was cut short goes on to the same trials.

    Args:
        space: The space whose grid is run.
        goal: What the seeds are to decide.
        budget: How long each trial may train.
        max_trials: Plan no more than this many trials; None for all.
        first_seed: The first of the seeds.
    """

    def __init__(
        self,
        space: SearchSpace,
        goal: SeedGoal,
        *,
        budget: Budget,
        max_trials: int | None = None,
        first_seed: int = 0,
    ) -> None:
        self.encoder = PlainEncoder(space.entries)
        self._goal, self._budget = goal, budget
        self._first_seed, self._max_trials = first_seed, max_trials
        seeds = range(first_seed, first_seed + LEAST_SEEDS)
        self._planned = [Trial(setting, seed, budget=budget) for seed in seeds for setting in space.grid()][:max_trials]
        self._due = deque(self._planned)
        self._running: set[str] = set()
        self._reader = ChangeReader()

    def next(self, records: Records) -> Decision:
        """Return the next trial; WAIT while those run that tell which batch sizes are worth another seed."""
        self._follow(records)
        if (trial := self._take(records)) is not None:
            return trial
        if self._running:
            return Pause.WAIT
        self._plan(self._worth_training(records))
        return self._take(records) or Pause.DONE

    def total(self, records: Records) -> int:
        """Return the number of trials that there are and that are missing, of seeds that may follow none."""
        return records.n_settled + sum(not records.has(trial) for trial in self._planned)

    def _follow(self, records: Records) -> None:
        for trial in self._reader.new(records):
            if trial.status is None:
                self._running.add(trial.trial_id)
            else:
                self._running.discard(trial.trial_id)

    def _take(self, records: Records) -> Trial | None:
        """Return the first trial that is due and has not been started."""
        while self._due:
            if not records.has(self._due[0]):
                return self._due[0]
            self._due.popleft()
        return None

    def _plan(self, trials: list[Trial]) -> None:
        left = None if self._max_trials is None else self._max_trials - len(self._planned)
        self._planned.extend(trials[:left])
        self._due.extend(trials[:left])

    def _worth_training(self, records: Records) -> list[Trial]:
        """Return the trials of the earliest seed that is worth training and has not been."""
        ended = [trial for trial in records if trial.outcome is not None]
        further = range(self._first_seed + LEAST_SEEDS, self._first_seed + self._goal.most_seeds)
        for seed in further:
            before = [trial for trial in ended if trial.seed < seed]
            worth = self._settings_worth(before)
            lacking = [trial for setting in worth if not records.has(trial := self._trial(setting, seed))]
            if lacking or not worth:
                return lacking
        return []

    def _settings_worth(self, trials: list[Trial]) -> list[Setting]:
        """Return the best settings of the batch sizes that are worth another seed."""
        goal = self._goal
        sizes = sizes_worth_another_seed(
            trials,
            objective=goal.objective,
            rule=goal.rule,
            tolerance=goal.tolerance,
            target=goal.target,
            cost=goal.cost,
            most_seeds=goal.most_seeds,
        )
        arms = group_into_arms(trials, objective=goal.objective, target=goal.target) if sizes else ()
        return [Setting(a.batch_size, a.learning_rate, a.hyperparameters) for a in arms if a.batch_size in sizes]

    def _trial(self, setting: Setting, seed: int) -> Trial:
        return Trial(setting, seed, budget=self._budget)
