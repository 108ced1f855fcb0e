"""StagedState: what a staged search knows at one moment: its goal, its trials so far, and what was measured."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from search_spaces.space import RESERVED_NAMES, SearchSpace, Setting, as_pairs
from tuning.machine.machine import Machine
from tuning.machine.noise import GUESSED_NOISE_SCALE
from tuning.objective import Objective
from tuning.plans.plan import MemoryWall
from tuning.stats.arms import Arm, group_into_arms
from tuning.stats.rules import FASTEST, TIME, TOLERANCE_LOSS
from tuning.stats.target import Timings, crossing
from tuning.trial import CONFIRM, HyperparameterValue, Status, Trial

STEP = 3.0
LADDER = (1.0, 3.0, 1 / 3, 9.0, 1 / 9)
"""The multiples tried at the reference batch size, about which nothing is known; the centre first."""
WINDOW = (1.0, 3.0, 1 / 3)
"""The multiples tried at every other batch size, around the centre that the rule gives it."""
HALF_STEPS = (math.sqrt(STEP), 1 / math.sqrt(STEP))
"""The multiples of its best rate that a batch size in the race tries at last."""
MOST_EXTENSIONS = 4
_SAME = 0.1
_HALF = 0.25  # of a step of 3; what is further from a whole one was tried in between

Rate = float | None


def around(centre: float, multiples: Sequence[float]) -> tuple[float, ...]:
    """Rates at multiples of a centre, to three digits.

    >>> around(0.001, WINDOW)
    (0.001, 0.003, 0.000333)
    """
    return tuple(_tidy(centre * multiple) for multiple in multiples)


def followed(rate: float, batch_size: int, *, known_at: int, rule: str, optimizer: str, noise_scale: float) -> float:
    """The centre of the rates to try at a batch size, from a rate known to be right at another.

        sqrt      rate * (B / B_ref)**0.5
        linear    rate * B / B_ref
        auto      for SGD: rate * (1 + B_noise/B_ref) / (1 + B_noise/B), linear below the noise scale and flat above it;
                  else sqrt

    Args:
        rate: Right at `known_at`.
        batch_size: B.
        known_at: B_ref.
        rule: "auto", "sqrt", "linear" or "constant".
        optimizer: Class name.
        noise_scale: B_noise, or a guess.

    Source: McCandlish et al., An Empirical Model of Large-Batch Training (2018), equation 2.6, for SGD; Malladi et al.
        (2022) for the square root.
    """
    if rule == "auto" and optimizer == "SGD":
        return rate * (1 + noise_scale / known_at) / (1 + noise_scale / batch_size)
    exponent = {"auto": 0.5, "sqrt": 0.5, "linear": 1.0, "constant": 0.0}[rule]
    return float(rate * (batch_size / known_at) ** exponent)


def missing(planned: Sequence[Rate], tried: Sequence[Rate]) -> list[Rate]:
    """Those of the planned rates that have not been tried, to within 10 %."""
    return [rate for rate in planned if not any(_is_same(rate, other) for other in tried)]


def outward(planned: Sequence[Rate], tried: Sequence[Rate], best: Rate) -> Rate:
    """The next rate beyond the edge at which the best one lies; None if it is interior or enough has been tried.

    Args:
        planned: What was to be tried at first.
        tried: What has been, diverged trainings included: they count as worse.
        best: Of those that could be judged; None if none could, because all diverged: then lower ones are tried.
    """
    rates = [rate for rate in tried if rate is not None]
    first = [rate for rate in planned if rate is not None]
    if len(first) < 2:
        return None
    beyond = [rate for rate in rates if not min(first) / (1 + _SAME) < rate < max(first) * (1 + _SAME)]
    if len(beyond) >= MOST_EXTENSIONS:
        return None
    if best is None or best == min(rates):
        return _tidy(min(rates) / STEP)
    return _tidy(max(rates) * STEP) if best == max(rates) else None


def _is_same(rate: Rate, other: Rate) -> bool:
    if rate is None or other is None:
        return rate is other
    return abs(math.log(rate / other)) < _SAME


def _is_between(rate: Rate, centre: Rate) -> bool:
    """Return whether a rate lies about half a step of 3 from a whole number of steps from the centre of its size."""
    if rate is None or centre is None:
        return False
    steps = math.log(rate / centre) / math.log(STEP)
    return abs(steps - round(steps)) > _HALF


def _tidy(rate: float) -> float:
    return float(f"{rate:.3g}")


@dataclass(frozen=True)
class StudyGoal:
    """What a staged search is to answer.

    Args:
        objective: The metric that decides.
        epochs: Passes over the training set that the reference may take; every confirmed training takes as many.
        n_train: Training examples.
        seeds: Fresh seeds, at least 1: every batch size gets two of them, those that may be the best up to two more
        than
            these.
        first_seed: The seed of the search; those after it are the reference's further two, then the fresh ones.
        target: The score to reach; None for what the reference reaches on three seeds at 90 % of its budget.
        rule: How the recommendation picks.
        tolerance: A loss of objective accepted for a cheaper batch size.
        cost: "time" or "energy"; the search itself looks for the shortest time, and the fresh seeds decide by this.
        tolerance_loss: The share of its time that the pick may be expected to lose to the best; no further seeds are
            trained for less.
    """

    objective: Objective
    epochs: int
    n_train: int
    seeds: int = 3
    first_seed: int = 0
    target: float | None = None
    rule: str = FASTEST
    tolerance: float | None = None
    cost: str = TIME
    tolerance_loss: float = TOLERANCE_LOSS

    @property
    def stops_at_target(self) -> bool:
        """Whether a training may end at the target because final scores of one budget decide nothing."""
        return self.rule == FASTEST and self.tolerance is None


@dataclass(frozen=True)
class StagedState:
    """What is known at one moment; it decides nothing but which learning rates a batch size still lacks.

    Args:
        space: What may be tried.
        goal: What is to be answered.
        machine: What was measured; its timings are known.
        trials: Every trial. Interrupted ones count for nothing, since they run again.
    """

    space: SearchSpace
    goal: StudyGoal
    machine: Machine
    trials: tuple[Trial, ...]

    @property
    def user(self) -> Timings:
        """Seconds per update of the loop that the final model will be trained with."""
        assert self.machine.user is not None
        return self.machine.user

    @property
    def critical_batch_size(self) -> float:
        """The forecast of B_crit, or a guess before the gradient's noise was measured."""
        return GUESSED_NOISE_SCALE if self.machine.noise is None else self.machine.noise.critical_batch_size

    def setting(self, batch_size: int, rate: Rate) -> Setting:
        """Return a setting, the model's own hyperparameters at their defaults."""
        return Setting(batch_size, rate, as_pairs(defaults_of(self.space)))

    def is_running(self, stage: str, *, before_seed: int | None = None) -> bool:
        """Return whether a trial of the stage has not ended."""
        running = (trial for trial in self._settled if trial.status is None and trial.stage == stage)
        return any(before_seed is None or trial.seed < before_seed for trial in running)

    def has_started(self, planned: Trial) -> bool:
        """Return whether a trial runs or has ended."""
        return planned.key in self._started

    @functools.cached_property
    def confirmed(self) -> dict[int, Setting]:
        """The setting that each batch size was confirmed at, unless learning rates of it were tried after that."""
        found: dict[int, Setting] = {}
        for trial in self._settled:
            if trial.stage == CONFIRM:
                found[trial.batch_size] = trial.setting
            else:
                found.pop(trial.batch_size, None)
        return found

    def has_no_memory_for(self, batch_size: int) -> bool:
        """Return whether a trial of this size or a smaller one ran out of memory."""
        return self._wall.rules_out(self.setting(batch_size, None))

    def ended(self, *stages: str) -> list[Trial]:
        """Return the trials of some stages that have ended."""
        return [trial for trial in self._settled if trial.outcome is not None and trial.stage in stages]

    def best(self, target: float | None, *stages: str) -> dict[int, Arm]:
        """Return each batch size at its best setting, of those with a score.

        A batch size that never reached the target is judged by its final scores, since all its times are censored.
        """
        trials, objective = self.ended(*stages), self.goal.objective
        found = {}
        for arm in group_into_arms(trials, objective=objective, target=target) if trials else ():
            hopeless = target is not None and not has_reached(arm.all_trials, target, objective)
            chosen = group_into_arms(arm.all_trials, objective=objective)[0] if hopeless else arm
            if chosen.scores:
                found[chosen.batch_size] = chosen
        return found

    def rates_lacking(self, batch_size: int, planned: Sequence[Rate], *stages: str) -> list[Rate]:
        """Return those of the planned learning rates that no trial of some stages has tried at a batch size."""
        return missing(planned, self._tried(batch_size, *stages))

    def rate_beyond(self, batch_size: int, planned: Sequence[Rate], best: Arm | None, *stages: str) -> list[Rate]:
        """Return one learning rate beyond the edge at which the best one lies; none if it is interior.

        Args:
            batch_size: The batch size.
            planned: The learning rates to be tried at first.
            best: The batch size at its best rate, None without a score: then only divergence asks for lower rates.
            stages: The stages whose trials count; all of them have ended.
        """
        trials = (trial for trial in self._settled if trial.batch_size == batch_size and trial.stage in stages)
        if best is None and not any(trial.status is Status.DIVERGED for trial in trials):
            return []
        rate = outward(planned, self._tried(batch_size, *stages), None if best is None else best.learning_rate)
        return [] if rate is None else [rate]

    def without(self, stage: str, *, from_seed: int) -> StagedState:
        """Return the same with the trials of a stage that use later seeds not yet run."""
        kept = tuple(trial for trial in self.trials if trial.stage != stage or trial.seed < from_seed)
        return dataclasses.replace(self, trials=kept)

    def on_steps(self, centres: Mapping[int, Rate], *stages: str) -> StagedState:
        """Return the same without the trials of some stages whose rates lie between whole steps from their centre."""
        kept = tuple(
            t
            for t in self.trials
            if t.stage not in stages or not _is_between(t.learning_rate, centres.get(t.batch_size))
        )
        return dataclasses.replace(self, trials=kept)

    def _tried(self, batch_size: int, *stages: str) -> list[Rate]:
        trials = (trial for trial in self._settled if trial.batch_size == batch_size and trial.stage in stages)
        return [trial.learning_rate for trial in trials]

    @functools.cached_property
    def _settled(self) -> list[Trial]:
        return [trial for trial in self.trials if trial.is_settled]

    @functools.cached_property
    def _started(self) -> set[tuple[Setting, int, str]]:
        return {trial.key for trial in self._settled}

    @functools.cached_property
    def _wall(self) -> MemoryWall:
        wall = MemoryWall()
        for trial in self.trials:
            wall.add(trial)
        return wall


def has_reached(trials: Sequence[Trial], target: float, objective: Objective) -> bool:
    """Return whether any training's curve came to the target."""
    found = (crossing(*trial.curve(objective.name), target, objective=objective) for trial in trials if trial.scored)
    return any(each is not None and each.reached for each in found)


def defaults_of(space: SearchSpace) -> dict[str, HyperparameterValue]:
    """Return the model's own hyperparameters at their defaults, without those that their conditions make inactive."""
    chosen: dict[str, HyperparameterValue] = {}
    for entry in space.entries:
        if entry.name not in RESERVED_NAMES and entry.is_active(chosen):
            chosen[entry.name] = entry.default
    return chosen
