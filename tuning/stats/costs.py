"""What training with each batch size costs: seconds, examples or joules, to the target or for the whole budget."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tuning.objective import Objective
from tuning.stats.arms import Arm
from tuning.stats.misses import NO_LOSS, MissLoss, losses_of_misses
from tuning.stats.rules import ENERGY, TIME
from tuning.stats.target import Crossing, crossing, geometric_mean
from tuning.trial import Trial

SECONDS_TO_TARGET = "seconds to the target"
EXAMPLES_TO_TARGET = "examples to the target"
SECONDS_OF_TRAINING = "seconds of training"
SECONDS_PER_EXAMPLE = "seconds per example"
JOULES_TO_TARGET = "joules to the target"
JOULES_OF_TRAINING = "joules of training"
JOULES_PER_EXAMPLE = "joules per example"

RATE_ERROR = 0.05
"""The standard error of ln(examples per second) where nothing is known of it: timings repeat to within about 10 %."""
LEAST_REPEATS = 2
"""Degrees of freedom from which the repeats of trials say how well their clocks agree."""


@dataclass(frozen=True)
class Costs:
    """What each batch size costs.

    Args:
        kind: What the numbers are: one of the constants of this module; None if nothing is known.
        by_batch_size: The cost of each batch size that has one.
        examples_per_second: The throughput of each batch size that has one.
        crossings: When each seed of each batch size reached the target; empty without a target.
        joules_per_example: The energy of one training example with each batch size that tells it.
        ties: What decides between batch sizes that cost the same; the cost in time, where energy is the cost.
        rate_errors: The standard error of ln(examples per second), by batch size.
        misses: What misses cost each batch size of which a seed missed the target.
    """

    kind: str | None
    by_batch_size: Mapping[int, float]
    examples_per_second: Mapping[int, float]
    crossings: Mapping[int, Mapping[int, Crossing]] = field(default_factory=dict)
    joules_per_example: Mapping[int, float] = field(default_factory=dict)
    ties: Mapping[int, float] = field(default_factory=dict)
    rate_errors: Mapping[int, float] = field(default_factory=dict)
    misses: Mapping[int, MissLoss] = field(default_factory=dict)

    @property
    def is_energy(self) -> bool:
        """Whether the costs are joules."""
        return self.kind in (JOULES_TO_TARGET, JOULES_OF_TRAINING, JOULES_PER_EXAMPLE)

    def reached(self, batch_size: int) -> bool:
        """Return whether the batch size reaches the target: with every scored seed, or misses are tolerable."""
        if not self.missed(batch_size):
            return bool(self.crossings.get(batch_size))
        return batch_size in self.misses and self.misses[batch_size].is_tolerable

    def missed(self, batch_size: int) -> int:
        """Return how many scored seeds of the batch size missed the target."""
        return sum(not c.reached for c in self.crossings.get(batch_size, {}).values())

    def examples_to_target(self, batch_size: int) -> float | None:
        """Return the geometric mean over the seeds that reached it, raised by what misses cost (`losses_of_misses`).

        It is None if the batch size does not reach the target (`reached`), or nobody knows when it does.
        """
        if not self.reached(batch_size):
            return None
        crossings = self.crossings[batch_size].values()
        if not all(math.isfinite(c.examples) for c in crossings):
            return None
        return geometric_mean([c.examples for c in crossings if c.reached]) * math.exp(self.miss_loss(batch_size).mean)

    def miss_loss(self, batch_size: int) -> MissLoss:
        """Return what misses cost the batch size; nothing where no seed missed the target."""
        return self.misses.get(batch_size, NO_LOSS)

    def seconds_to_target(self, batch_size: int) -> float | None:
        """Return the examples to the target divided by the throughput; None where either is unknown."""
        examples, rate = self.examples_to_target(batch_size), self.examples_per_second.get(batch_size)
        return None if examples is None or rate is None else examples / rate

    def log_efficiency(self, batch_size: int) -> dict[int, float]:
        """Return -ln(examples to the target) by seed, of those that reached it."""
        return {seed: -math.log(c.examples) for seed, c in self.crossings[batch_size].items() if c.reached}

    def log_rate(self, batch_size: int) -> float:
        """Return ln(examples per second), of joules ln(examples per joule), or 0 where examples are what counts."""
        if self.kind == JOULES_TO_TARGET:
            return -math.log(self.joules_per_example[batch_size])
        return math.log(self.examples_per_second[batch_size]) if self.kind == SECONDS_TO_TARGET else 0.0

    def log_rate_error(self, batch_size: int) -> float:
        """Return the standard error of `log_rate`; 0 where examples are what counts."""
        if self.kind == EXAMPLES_TO_TARGET:
            return 0.0
        return self.rate_errors.get(batch_size, RATE_ERROR)


def arm_costs(
    arms: Sequence[Arm],
    *,
    objective: Objective,
    target: float | None,
    throughput: Mapping[int, float] | None,
    cost: str = TIME,
    throughput_errors: Mapping[int, float] | None = None,
) -> Costs:
    """Return the costs of every arm, in the most telling kind that the trials allow for all of them.

    With a target: seconds to it (examples to it / throughput), else examples to it. Without: seconds of training the
    largest budget that any trial had, else seconds per example. Throughput is the caller's, measured with nothing else
    running; without one it is the median over an arm's own trials. The two are never mixed.

    Where `cost` is "energy": the same in joules if every batch size with a score tells its energy, else in time. Joules
    to the target are examples to it times the median of joules per example over an arm's own trials.

    The errors of the throughput are the caller's, or what the repeats of an arm's own trials show; 5 % where neither
    says anything.
    """
    rates = {arm.batch_size: rate for arm in arms if (rate := _throughput(arm, throughput))}
    crossings = {} if target is None else {a.batch_size: _crossings(a, target, objective) for a in arms}
    joules = {arm.batch_size: each for arm in arms if (each := median_of(arm.all_trials, "joules_per_example"))}
    errors = (throughput_errors or {}) if throughput else _repeatability(arms)
    misses = losses_of_misses(crossings, {arm.batch_size: _ended_early(arm) for arm in arms})
    costs = Costs(None, {}, rates, crossings, joules, rate_errors=errors, misses=misses)
    timed = _most_telling(costs, _candidates(arms, costs))
    if cost != ENERGY:
        return timed
    energy = _most_telling(costs, _energy_candidates(arms, costs))
    return timed if energy.kind is None else dataclasses.replace(energy, ties=timed.by_batch_size)


def _most_telling(costs: Costs, candidates: Sequence[tuple[str, dict[int, float]]]) -> Costs:
    for kind, by_batch_size in candidates:
        if by_batch_size:
            return dataclasses.replace(costs, kind=kind, by_batch_size=by_batch_size)
    return costs


def _energy_candidates(arms: Sequence[Arm], costs: Costs) -> list[tuple[str, dict[int, float]]]:
    """Return the costs in joules by kind, the most telling first; empty where a batch size with a score lacks one."""
    sizes = [arm.batch_size for arm in arms if arm.scores]
    each = costs.joules_per_example
    reaching = [size for size in sizes if costs.reached(size)]
    examples = {b: e for b in reaching if (e := costs.examples_to_target(b)) is not None}
    budget = _budget(arms)
    found = [
        (JOULES_TO_TARGET, {b: e * each[b] for b, e in examples.items() if b in each}, reaching),
        (JOULES_OF_TRAINING, {b: budget * each[b] for b in sizes if b in each} if budget else {}, sizes),
        (JOULES_OF_TRAINING, _measured(arms, "energy_joules"), sizes),
        (JOULES_PER_EXAMPLE, {b: each[b] for b in sizes if b in each}, sizes),
    ]
    return [(kind, known if len(known) == len(needed) else {}) for kind, known, needed in found]


def _candidates(arms: Sequence[Arm], costs: Costs) -> list[tuple[str, dict[int, float]]]:
    sizes = [arm.batch_size for arm in arms if arm.scores]
    reaching = [size for size in sizes if costs.reached(size)]
    seconds = {b: s for b in reaching if (s := costs.seconds_to_target(b)) is not None}
    examples = {b: e for b in reaching if (e := costs.examples_to_target(b)) is not None}
    per_example = {b: 1 / costs.examples_per_second[b] for b in sizes if b in costs.examples_per_second}
    budget = _budget(arms)
    return [
        (SECONDS_TO_TARGET, seconds if len(seconds) == len(reaching) else {}),
        (EXAMPLES_TO_TARGET, examples if len(examples) == len(reaching) else {}),
        (SECONDS_OF_TRAINING, {b: budget * cost for b, cost in per_example.items()} if budget else {}),
        (SECONDS_OF_TRAINING, _measured(arms, "seconds") if len(per_example) < len(sizes) else {}),
        (SECONDS_PER_EXAMPLE, per_example),
    ]


def _budget(arms: Sequence[Arm]) -> int:
    return max((trial.examples_seen for arm in arms for trial in arm.all_trials), default=0)


def _measured(arms: Sequence[Arm], name: str) -> dict[int, float]:
    return {arm.batch_size: median for arm in arms if (median := median_of(arm.trials, name))}


def median_of(trials: Sequence[Trial], name: str) -> float | None:
    """Return the median of a field of the outcomes of scored trials; None if none of them knows it."""
    values = [value for t in trials if t.scored and t.outcome is not None and (value := getattr(t.outcome, name))]
    return statistics.median(values) if values else None


def _throughput(arm: Arm, throughput: Mapping[int, float] | None) -> float | None:
    if throughput:
        return throughput.get(arm.batch_size)
    return median_of(arm.all_trials, "examples_per_second")


def _repeatability(arms: Sequence[Arm]) -> dict[int, float]:
    """Return s/sqrt(n) by batch size, s the spread of ln(examples per second) between an arm's trials, pooled."""
    logs = {
        arm.batch_size: [math.log(t.examples_per_second) for t in arm.trials if t.scored and t.examples_per_second]
        for arm in arms
    }
    squares = sum(statistics.variance(each) * (len(each) - 1) for each in logs.values() if len(each) > 1)
    degrees = sum(len(each) - 1 for each in logs.values() if each)
    if degrees < LEAST_REPEATS:
        return {}
    return {size: math.sqrt(squares / degrees / len(each)) for size, each in logs.items() if each}


def _crossings(arm: Arm, target: float, objective: Objective) -> dict[int, Crossing]:
    """Return the crossings by seed; a seed that was run more than once counts with its last scored trial."""
    return {t.seed: _crossing(t, target, objective) for t in arm.trials if t.scored}


def _ended_early(arm: Arm) -> set[int]:
    """Return the seeds whose training ended by itself before its budget, as `EarlyStopping` ends it."""
    return {trial.seed for trial in arm.trials if trial.scored and len(trial.reports) < trial.budget.epochs}


def _crossing(trial: Trial, target: float, objective: Objective) -> Crossing:
    """Return the crossing; a trial without a curve tells only whether its final score reaches the target, not when."""
    found = crossing(*trial.curve(objective.name), target, objective=objective)
    if found is not None or trial.score is None:
        return found or Crossing(False, math.nan, math.nan, None)
    return Crossing(objective.reaches(trial.score, target), math.nan, math.nan, None)
