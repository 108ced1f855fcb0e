"""Arms: each batch size at its best setting, with the trials that judge it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tuning.selection.results import CONFIRM, Hyperparameters, TrialResult
from tuning.trial import Status

LEAST_LEARNING_RATES = 3  # of two, the better one always is at an end


@dataclass(frozen=True)
class Arm:
    """One batch size at its best setting.

    Args:
        batch_size: The batch size.
        learning_rate: Of the setting.
        hyperparameters: Of the setting.
        scores: Objective by seed, of the completed trials that judge it.
        trials: The trials that judge it: of this setting, and of stage "confirm" if there are any of that stage.
        all_trials: Every trial of this batch size.
        confirmed: Whether the judging trials are of stage "confirm".
        settings: How many settings were tried at this batch size.
        learning_rates: Ascending, tried at this batch size with these hyperparameters.
    """

    batch_size: int
    learning_rate: float | None
    hyperparameters: Hyperparameters
    scores: dict[int, float]
    trials: tuple[TrialResult, ...]
    all_trials: tuple[TrialResult, ...]
    confirmed: bool
    settings: int
    learning_rates: tuple[float, ...]

    @property
    def lost(self) -> dict[int, Status]:
        """Status by seed of the judging trials that gave no score; a seed that was run again and scored is not lost.

        A trial that completed with a score that is no finite number counts as diverged.
        """
        return {t.seed: _effective_status(t) for t in self.trials if t.seed not in self.scores}

    @property
    def broken(self) -> Status | None:
        """How this batch size itself fails (out of memory, then diverged) in a judging trial; None if it does not."""
        lost = set(self.lost.values())
        return next((s for s in (Status.OUT_OF_MEMORY, Status.DIVERGED) if s in lost), None)

    @property
    def edge(self) -> str | None:
        """ "lowest" or "highest" if the learning rate lies at an end of three or more that were tried, else None."""
        if self.learning_rate is None or len(self.learning_rates) < LEAST_LEARNING_RATES:
            return None
        ends = {self.learning_rates[0]: "lowest", self.learning_rates[-1]: "highest"}
        return ends.get(self.learning_rate)


def group_into_arms(results: Sequence[TrialResult], *, maximize: bool) -> tuple[Arm, ...]:
    """Return one arm per batch size, ascending, each at its best setting.

    The best setting is the one with the largest `mean - s/sqrt(n)` over its n seeds (smallest `mean + s/sqrt(n)` when
    minimising), s the standard deviation pooled over all settings that were repeated: one lucky score does not beat
    a mean of several. Settings whose trials broke (diverged, out of memory) come after those whose did not.
    """
    by_size: dict[int, list[TrialResult]] = defaultdict(list)
    for result in results:
        by_size[result.batch_size].append(result)
    spread = _pooled_spread(results)
    return tuple(_arm(size, by_size[size], spread, maximize=maximize) for size in sorted(by_size))


def _arm(batch_size: int, trials: list[TrialResult], spread: float, *, maximize: bool) -> Arm:
    confirming = [t for t in trials if t.stage == CONFIRM]
    judging: dict[tuple[float | None, Hyperparameters], list[TrialResult]] = defaultdict(list)
    for trial in confirming or trials:
        judging[trial.setting].append(trial)

    def rank(setting: tuple[float | None, Hyperparameters]) -> tuple[bool, bool, float]:
        scores = list(_scores(judging[setting]).values())
        if not scores:
            return False, False, 0.0
        seeds = {t.seed for t in judging[setting] if t.scored}
        sound = all(
            t.seed in seeds or _effective_status(t) not in (Status.OUT_OF_MEMORY, Status.DIVERGED)
            for t in judging[setting]
        )
        mean = float(np.mean(scores)) * (1 if maximize else -1)
        return True, sound, mean - spread / math.sqrt(len(scores))

    best = max(judging, key=rank)
    rates = {
        t.learning_rate
        for t in trials
        if t.hyperparameters == best[1] and t.status not in (Status.FAILED, Status.INTERRUPTED)
    }
    return Arm(
        batch_size=batch_size,
        learning_rate=best[0],
        hyperparameters=best[1],
        scores=_scores(judging[best]),
        trials=tuple(judging[best]),
        all_trials=tuple(trials),
        confirmed=bool(confirming),
        settings=len({t.setting for t in trials}),
        learning_rates=tuple(sorted(rate for rate in rates if rate is not None)),
    )


def _scores(trials: Sequence[TrialResult]) -> dict[int, float]:
    """Mean score by seed of the trials that have one."""
    by_seed: dict[int, list[float]] = defaultdict(list)
    for trial in trials:
        if trial.scored and trial.objective is not None:
            by_seed[trial.seed].append(trial.objective)
    return {seed: float(np.mean(scores)) for seed, scores in sorted(by_seed.items())}


def _effective_status(trial: TrialResult) -> Status:
    return Status.DIVERGED if trial.status is Status.COMPLETED else trial.status


def _pooled_spread(results: Sequence[TrialResult]) -> float:
    """Standard deviation of a score around its setting's mean, pooled over the settings; 0 if nothing was repeated."""
    groups: dict[object, list[TrialResult]] = defaultdict(list)
    for result in results:
        groups[result.batch_size, result.setting, result.stage].append(result)
    squares, dof = 0.0, 0
    for trials in groups.values():
        scores = list(_scores(trials).values())
        if len(scores) > 1:
            squares += float(np.var(scores)) * len(scores)
            dof += len(scores) - 1
    return math.sqrt(squares / dof) if dof else 0.0
