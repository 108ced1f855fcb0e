"""The best setting of each batch size: its learning rate and other hyperparameters."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tuning.selection.results import Setting, TrialResult, mean_by_seed
from tuning.selection.smoothing import SettingScore, smooth
from tuning.selection.target import crossing
from tuning.trial import Status

CLEARLY = 2.0  # standard errors of a difference

_BROKEN = (Status.OUT_OF_MEMORY, Status.DIVERGED)
_WORSE = (Status.DIVERGED, Status.PRUNED)
"""What says of a learning rate that it is bad without giving a score."""


@dataclass(frozen=True)
class _Summary:
    """One setting at one batch size: mean and number of its seeds' values, larger is better."""

    mean: float
    seeds: int
    sound: bool


class Chooser:
    """Chooses the best setting of a batch size, knowing all trials of all batch sizes.

    Args:
        results: Every trial.
        maximize: Whether a larger objective is better.
        target: The objective to reach, or None.
    """

    def __init__(self, results: Sequence[TrialResult], *, maximize: bool, target: float | None) -> None:
        scored = [result for result in results if result.scored]
        self._maximize = maximize
        self._target = target if all(result.examples_seen for result in scored) else None
        groups: dict[tuple[int, Setting], list[TrialResult]] = defaultdict(list)
        for result in results:
            groups[result.batch_size, result.setting].append(result)
        self._spread = self._pooled_spread(groups)
        self._smoothed = self._smooth(groups)

    def best(self, batch_size: int, judging: Mapping[Setting, Sequence[TrialResult]]) -> Setting:
        """Return the best of the settings tried at a batch size, given the trials that judge each."""
        summaries = {setting: found for setting, trials in judging.items() if (found := self._summary(trials))}
        if not summaries:
            return next(iter(judging))
        sound = {setting: found for setting, found in summaries.items() if found.sound} or summaries
        spread = self._spread or 0.0
        leader = max(sound, key=lambda setting: sound[setting].mean - spread / math.sqrt(sound[setting].seeds))
        near = [setting for setting, found in sound.items() if not self._clearly_worse(found, sound[leader])]
        if not all((batch_size, setting) in self._smoothed for setting in near):
            return leader
        return max(near, key=lambda setting: self._smoothed[batch_size, setting])

    def value(self, trial: TrialResult) -> float | None:
        """Larger is better: the signed objective, or minus the log of the examples to the target.

        A trial that missed the target counts as reaching it at twice its budget.
        """
        if not trial.scored or trial.objective is None:
            return None
        if self._target is None:
            return trial.objective if self._maximize else -trial.objective
        found = crossing(trial.examples_seen, trial.objective_curve, self._target, maximize=self._maximize)
        if found is None:
            return None
        return -math.log(found.examples * (1 if found.reached else 2))

    def _summary(self, trials: Sequence[TrialResult]) -> _Summary | None:
        values = mean_by_seed([(trial.seed, self.value(trial)) for trial in trials])
        if not values:
            return None
        sound = all(trial.seed in values or trial.outcome not in _BROKEN for trial in trials)
        return _Summary(statistics.fmean(values.values()), len(values), sound)

    def _clearly_worse(self, found: _Summary, leader: _Summary) -> bool:
        if self._spread is None or found is leader:
            return False
        error = self._spread * math.sqrt(1 / found.seeds + 1 / leader.seeds)
        return leader.mean - found.mean > CLEARLY * error

    def _pooled_spread(self, groups: Mapping[tuple[int, Setting], Sequence[TrialResult]]) -> float | None:
        """Standard deviation of a value around its setting's mean, pooled; None if no setting was repeated."""
        squares, degrees = 0.0, 0
        for trials in groups.values():
            values = list(mean_by_seed([(trial.seed, self.value(trial)) for trial in trials]).values())
            if len(values) > 1:
                squares += statistics.variance(values) * (len(values) - 1)
                degrees += len(values) - 1
        return math.sqrt(squares / degrees) if degrees else None

    def _smooth(self, groups: Mapping[tuple[int, Setting], Sequence[TrialResult]]) -> dict[tuple[int, Setting], float]:
        """Smoothed value of every setting; empty if anything but the learning rate distinguishes them."""
        tried = {
            key: trials
            for key, trials in groups.items()
            if any(trial.scored or trial.outcome in _WORSE for trial in trials)
        }
        if len({setting[1] for _, setting in tried}) != 1 or any(setting[0] is None for _, setting in tried):
            return {}
        scores = []
        for (batch_size, (rate, _)), trials in tried.items():
            summary = self._summary(trials)
            mean = summary.mean if summary and summary.sound else -math.inf
            scores.append(SettingScore(batch_size, rate or math.nan, mean, summary.seeds if summary else 1))
        return dict(zip(tried, smooth(scores), strict=True))
