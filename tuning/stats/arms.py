"""Arms: each batch size at its best setting, with the trials that judge it."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tuning.objective import Objective
from tuning.stats.rate_profile import RateProfile, rate_profiles
from tuning.stats.reaches import EXPONENT, above_rule, reaches_of, run_noise
from tuning.stats.target import crossing
from tuning.trial import CONFIRM, Hyperparameters, Recipe, Status, Trial

_UNTRIED = (Status.FAILED, Status.INTERRUPTED, Status.LOST)  # they say nothing of the learning rate
LEAST_LEARNING_RATES = 3  # of two, the better one always is at an end


@dataclass(frozen=True)
class Arm:
    """One batch size at its best setting.

    Args:
        batch_size: The batch size.
        learning_rate: The setting's learning rate; None for the model's own.
        hyperparameters: The setting's other hyperparameters.
        scores: The score by seed of the completed trials that judge it.
        trials: The trials that judge it: of this setting, and of stage "confirm" if there are any of that stage.
        all_trials: Every trial of this batch size.
        confirmed: Whether the judging trials are of stage "confirm".
        settings: How many settings were tried at this batch size.
        learning_rates: The learning rates, ascending, tried at this batch size with these hyperparameters.
    """

    batch_size: int
    learning_rate: float | None
    hyperparameters: Hyperparameters
    scores: dict[int, float]
    trials: tuple[Trial, ...]
    all_trials: tuple[Trial, ...]
    confirmed: bool
    settings: int
    learning_rates: tuple[float, ...]

    @property
    def lost(self) -> dict[int, Status | None]:
        """The status by seed of the judging trials that gave no score; a seed that was run again and scored is not.

        A trial that completed with a score that is no finite number counts as diverged.
        """
        return {t.seed: t.judged_status for t in self.trials if t.seed not in self.scores}

    @property
    def broken(self) -> Status | None:
        """How this batch size itself fails (out of memory, then diverged) in a judging trial; None if it does not."""
        lost = set(self.lost.values())
        return next((s for s in (Status.OUT_OF_MEMORY, Status.DIVERGED) if s in lost), None)

    @property
    def peak_memory_bytes(self) -> float | None:
        """The largest peak of its trials; None if no trial knows its own."""
        return max((t.peak_memory_bytes for t in self.all_trials if t.peak_memory_bytes), default=None)

    @property
    def edge(self) -> str | None:
        """ "lowest" or "highest" if the learning rate lies at an end of three or more that were tried, else None."""
        if self.learning_rate is None or len(self.learning_rates) < LEAST_LEARNING_RATES:
            return None
        ends = {self.learning_rates[0]: "lowest", self.learning_rates[-1]: "highest"}
        return ends.get(self.learning_rate)


def mean_by_seed(pairs: Iterable[tuple[int, float | None]]) -> dict[int, float]:
    """Return the mean of the values of each seed, by seed ascending; None is skipped."""
    by_seed: dict[int, list[float]] = defaultdict(list)
    for seed, value in pairs:
        if value is not None:
            by_seed[seed].append(value)
    return {seed: statistics.fmean(values) for seed, values in sorted(by_seed.items())}


def group_into_arms(trials: Sequence[Trial], *, objective: Objective, target: float | None = None) -> tuple[Arm, ...]:
    """Return one arm per batch size, ascending, each at its best setting.

    Settings are compared by the objective or, with a target that every scored trial left a curve for, by examples to
    the target. Those whose trials broke (diverged, out of memory) come after those whose did not. Of the others:

    - If settings differ in their learning rate only, the one with the best score after smoothing over neighbouring
      learning rates and batch sizes (`smooth`), among those not clearly worse than the best mean. Clearly: by more
      than twice the standard error that repeats show. With a target, of those that reached it, the one that is expected
      to lose least time to the best rate (`rate_profiles`).
    - Else the one with the best `mean - s/sqrt(n)` over its n seeds, s the standard deviation pooled over all repeated
      settings: one lucky score does not beat a mean of several.
    """
    by_size: dict[int, list[Trial]] = defaultdict(list)
    for trial in trials:
        by_size[trial.batch_size].append(trial)
    chooser = Chooser(trials, objective=objective, target=target)
    return tuple(_arm(size, by_size[size], chooser) for size in sorted(by_size))


def _arm(batch_size: int, trials: list[Trial], chooser: Chooser) -> Arm:
    confirming = [t for t in trials if t.stage == CONFIRM]
    judging: dict[Recipe, list[Trial]] = defaultdict(list)
    for trial in confirming or trials:
        judging[trial.recipe].append(trial)
    best = chooser.best(batch_size, judging)
    tried = (t.learning_rate for t in trials if t.hyperparameters == best[1] and t.status not in _UNTRIED)
    return Arm(
        batch_size=batch_size,
        learning_rate=best[0],
        hyperparameters=best[1],
        scores=mean_by_seed([(t.seed, t.score) for t in judging[best] if t.scored]),
        trials=tuple(judging[best]),
        all_trials=tuple(trials),
        confirmed=bool(confirming),
        settings=len({t.recipe for t in trials}),
        learning_rates=tuple(sorted({rate for rate in tried if rate is not None})),
    )


CLEARLY = 2.0  # standard errors of a difference

_BROKEN = (Status.OUT_OF_MEMORY, Status.DIVERGED)
_WORSE = (Status.DIVERGED, Status.PRUNED)
"""The ends of a trial that call its learning rate bad without giving a score."""


@dataclass(frozen=True)
class _Summary:
    """The mean value of one setting at one batch size, larger being better, and over how many seeds."""

    mean: float
    seeds: int
    sound: bool
    reached: bool


class Chooser:
    """Chooses the best setting of a batch size, knowing all trials of all batch sizes.

    Args:
        trials: Every trial.
        objective: The metric that decides.
        target: The objective to reach, or None.
    """

    def __init__(self, trials: Sequence[Trial], *, objective: Objective, target: float | None) -> None:
        scored = [trial for trial in trials if trial.scored]
        self._objective = objective
        self._target = target if all(any(trial.curve(objective.name)) for trial in scored) else None
        groups: dict[tuple[int, Recipe], list[Trial]] = defaultdict(list)
        for trial in trials:
            groups[trial.batch_size, trial.recipe].append(trial)
        self._spread = self._pooled_spread(groups)
        self._smoothed = self._smooth(groups)
        self._profiles = self._profile(trials)

    def best(self, batch_size: int, judging: Mapping[Recipe, Sequence[Trial]]) -> Recipe:
        """Return the best of the settings tried at a batch size, given the trials that judge each."""
        summaries = {setting: found for setting, trials in judging.items() if (found := self._summary(trials))}
        if not summaries:
            return next(iter(judging))
        sound = {setting: found for setting, found in summaries.items() if found.sound} or summaries
        spread = self._spread or 0.0
        leader = max(sound, key=lambda setting: sound[setting].mean - spread / math.sqrt(sound[setting].seeds))
        near = [setting for setting, found in sound.items() if not self._clearly_worse(found, sound[leader])]
        if batch_size in self._profiles and (reached := [setting for setting in near if sound[setting].reached]):
            return min(reached, key=lambda setting: self._loss(batch_size, setting[0]))
        if not all((batch_size, setting) in self._smoothed for setting in near):
            return leader
        return max(near, key=lambda setting: self._smoothed[batch_size, setting])

    def value(self, trial: Trial) -> float | None:
        """Return what larger is better of: the signed score, or minus the log of the examples to the target.

        A trial that missed the target counts as reaching it at twice its budget.

        Source: Hutter et al., ParamILS (2009), whose penalised average runtime counts a miss tenfold.
        """
        if not trial.scored or trial.score is None:
            return None
        if self._target is None:
            return self._objective.sign * trial.score
        found = crossing(*trial.curve(self._objective.name), self._target, objective=self._objective)
        if found is None:
            return None
        return -math.log(found.examples * (1 if found.reached else 2))

    def _loss(self, batch_size: int, rate: float | None) -> float:
        """Return what the rate is expected to cost of the time to the target."""
        return self._profiles[batch_size].loss(above_rule(rate or math.nan, batch_size)).mean

    def _summary(self, trials: Sequence[Trial]) -> _Summary | None:
        values = mean_by_seed([(trial.seed, self.value(trial)) for trial in trials])
        if not values:
            return None
        sound = all(trial.seed in values or trial.judged_status not in _BROKEN for trial in trials)
        return _Summary(statistics.fmean(values.values()), len(values), sound, all(map(self._reached, trials)))

    def _reached(self, trial: Trial) -> bool:
        if self._target is None or not trial.scored:
            return False
        found = crossing(*trial.curve(self._objective.name), self._target, objective=self._objective)
        return found is not None and found.reached

    def _clearly_worse(self, found: _Summary, leader: _Summary) -> bool:
        if self._spread is None or found is leader:
            return False
        error = self._spread * math.sqrt(1 / found.seeds + 1 / leader.seeds)
        return leader.mean - found.mean > CLEARLY * error

    def _pooled_spread(self, groups: Mapping[tuple[int, Recipe], Sequence[Trial]]) -> float | None:
        """Return the standard deviation of a value around its setting's mean, pooled; None without any repeat."""
        squares, degrees = 0.0, 0
        for trials in groups.values():
            values = list(mean_by_seed([(trial.seed, self.value(trial)) for trial in trials]).values())
            if len(values) > 1:
                squares += statistics.variance(values) * (len(values) - 1)
                degrees += len(values) - 1
        return math.sqrt(squares / degrees) if degrees else None

    def _profile(self, trials: Sequence[Trial]) -> dict[int, RateProfile]:
        """Return what is known of each batch size's best rate; empty where other than the rate tells settings apart."""
        if self._target is None or not self._smoothed:
            return {}
        return rate_profiles(reaches_of(trials, self._target, self._objective), run_noise(self._spread))

    def _smooth(self, groups: Mapping[tuple[int, Recipe], Sequence[Trial]]) -> dict[tuple[int, Recipe], float]:
        """Return the smoothed value of every setting; empty if anything but the learning rate distinguishes them."""
        tried = {
            key: trials
            for key, trials in groups.items()
            if any(trial.scored or trial.judged_status in _WORSE for trial in trials)
        }
        if len({setting[1] for _, setting in tried}) != 1 or any(setting[0] is None for _, setting in tried):
            return {}
        scores = []
        for (batch_size, (rate, _)), trials in tried.items():
            summary = self._summary(trials)
            mean = summary.mean if summary and summary.sound else -math.inf
            scores.append(SettingScore(batch_size, rate or math.nan, mean, summary.seeds if summary else 1))
        return dict(zip(tried, smooth(scores), strict=True))


RATE_WIDTH = math.log(3)
SIZE_WIDTH = math.log(2)
FLOOR = 3.0


@dataclass(frozen=True)
class SettingScore:
    """The mean score of one learning rate at one batch size; larger is better.

    Args:
        batch_size: The batch size.
        learning_rate: The learning rate, positive.
        score: The mean over its trials; -inf if they broke.
        trials: The number of its trials.
    """

    batch_size: int
    learning_rate: float
    score: float
    trials: int = 1


def smooth(settings: Sequence[SettingScore]) -> list[float]:
    """Return one smoothed score per setting, comparable within a batch size only.

        smoothed_i = sum_j w_ij*(y_j - best of j's batch size) / sum_j w_ij
        w_ij = n_j*exp(-(ln B_i - ln B_j)^2/(2 ln(2)^2) - (v_i - v_j)^2/(2 ln(3)^2)),   v = ln(rate) - 0.5*ln B

    A learning rate between two good ones thus beats an equally good one beside a bad one, at its own batch size or, at
    rates rescaled by the square root rule, at the next. A score further below the best of its batch size than three
    times the median one is lifted to there: a diverged or hopeless neighbour says that a rate is near the edge, not by
    how much. Where the median one ties with the best, as accuracies on few examples do, the worst stands for it.

    On tables of trained networks (HPOBench: 10 batch sizes, 10 learning rates, one seed) the rates chosen so score
    0.2 to 0.4 standard deviations between seeds better on fresh seeds than those with the best single score, with any
    width from half to twice these.

    Source: Nadaraya, On estimating regression (1964), for the kernel mean.
    """
    sizes = np.array([math.log(setting.batch_size) for setting in settings])
    rates = np.array([math.log(setting.learning_rate) for setting in settings]) - EXPONENT * sizes
    scores = _centred(settings)
    distance = (sizes[:, None] - sizes) ** 2 / SIZE_WIDTH**2 + (rates[:, None] - rates) ** 2 / RATE_WIDTH**2
    weights = np.exp(-distance / 2) * np.array([setting.trials for setting in settings])
    return [float(value) for value in weights @ scores / weights.sum(axis=1)]


def _centred(settings: Sequence[SettingScore]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return the scores less the best of their batch size, none lower than `FLOOR` times the median of them."""
    by_size: dict[int, list[float]] = {}
    for setting in settings:
        by_size.setdefault(setting.batch_size, []).append(setting.score)
    centred = []
    for setting in settings:
        finite = [score for score in by_size[setting.batch_size] if math.isfinite(score)]
        best = max(finite, default=0.0)
        gap = (float(np.median(finite)) - best or min(finite) - best) if finite else 0.0
        floor = FLOOR * gap
        centred.append(max(setting.score - best, floor))
    return np.array(centred)
