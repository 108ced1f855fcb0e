"""What training with each batch size costs: seconds or examples, to the target or for the whole budget."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tuning.objective import Objective
from tuning.stats.arms import Arm
from tuning.stats.target import Crossing, crossing, geometric_mean
from tuning.trial import Trial

SECONDS_TO_TARGET = "seconds to the target"
EXAMPLES_TO_TARGET = "examples to the target"
SECONDS_OF_TRAINING = "seconds of training"
SECONDS_PER_EXAMPLE = "seconds per example"


@dataclass(frozen=True)
class Costs:
    """What each batch size costs.

    Args:
        kind: What the numbers are: one of the constants of this module; None if nothing is known.
        by_batch_size: The cost of each batch size that has one.
        examples_per_second: The throughput of each batch size that has one.
        crossings: When each seed of each batch size reached the target; empty without a target.
    """

    kind: str | None
    by_batch_size: Mapping[int, float]
    examples_per_second: Mapping[int, float]
    crossings: Mapping[int, Mapping[int, Crossing]] = field(default_factory=dict)

    def reached(self, batch_size: int) -> bool:
        """Return whether every scored seed of the batch size reached the target."""
        crossings = self.crossings.get(batch_size, {})
        return bool(crossings) and all(c.reached for c in crossings.values())

    def examples_to_target(self, batch_size: int) -> float | None:
        """Return the geometric mean over the seeds; None unless all of them reached it, and it is known when."""
        if not self.reached(batch_size):
            return None
        examples = [c.examples for c in self.crossings[batch_size].values()]
        return geometric_mean(examples) if all(map(math.isfinite, examples)) else None

    def seconds_to_target(self, batch_size: int) -> float | None:
        """Return the examples to the target divided by the throughput; None where either is unknown."""
        examples, rate = self.examples_to_target(batch_size), self.examples_per_second.get(batch_size)
        return None if examples is None or rate is None else examples / rate

    def log_efficiency(self, batch_size: int) -> dict[int, float]:
        """Return -ln(examples to the target) by seed."""
        return {seed: -math.log(c.examples) for seed, c in self.crossings[batch_size].items()}

    def log_rate(self, batch_size: int) -> float:
        """Return ln(examples per second), or 0 where examples are what counts."""
        return math.log(self.examples_per_second[batch_size]) if self.kind == SECONDS_TO_TARGET else 0.0


def arm_costs(
    arms: Sequence[Arm], *, objective: Objective, target: float | None, throughput: Mapping[int, float] | None
) -> Costs:
    """Return the costs of every arm, in the most telling kind that the trials allow for all of them.

    With a target: seconds to it (examples to it / throughput), else examples to it. Without: seconds of training the
    largest budget that any trial had, else seconds per example. Throughput is the caller's, measured with nothing else
    running, or the median over an arm's own trials.
    """
    rates = {arm.batch_size: rate for arm in arms if (rate := _throughput(arm, throughput))}
    crossings = {} if target is None else {a.batch_size: _crossings(a, target, objective) for a in arms}
    costs = Costs(None, {}, rates, crossings)
    for kind, by_batch_size in _candidates(arms, costs):
        if by_batch_size:
            return dataclasses.replace(costs, kind=kind, by_batch_size=by_batch_size)
    return costs


def _candidates(arms: Sequence[Arm], costs: Costs) -> list[tuple[str, dict[int, float]]]:
    sizes = [arm.batch_size for arm in arms if arm.scores]
    reaching = [size for size in sizes if costs.reached(size)]
    seconds = {b: s for b in reaching if (s := costs.seconds_to_target(b)) is not None}
    examples = {b: e for b in reaching if (e := costs.examples_to_target(b)) is not None}
    per_example = {b: 1 / costs.examples_per_second[b] for b in sizes if b in costs.examples_per_second}
    budget = max((trial.examples_seen for arm in arms for trial in arm.all_trials), default=0)
    return [
        (SECONDS_TO_TARGET, seconds if len(seconds) == len(reaching) else {}),
        (EXAMPLES_TO_TARGET, examples if len(examples) == len(reaching) else {}),
        (SECONDS_OF_TRAINING, {b: budget * cost for b, cost in per_example.items()} if budget else {}),
        (SECONDS_OF_TRAINING, _measured_seconds(arms) if len(per_example) < len(sizes) else {}),
        (SECONDS_PER_EXAMPLE, per_example),
    ]


def _measured_seconds(arms: Sequence[Arm]) -> dict[int, float]:
    seconds = {a.batch_size: [t.seconds for t in a.trials if t.scored and t.seconds] for a in arms}
    return {size: statistics.median(values) for size, values in seconds.items() if values}


def _throughput(arm: Arm, throughput: Mapping[int, float] | None) -> float | None:
    if throughput and arm.batch_size in throughput:
        return throughput[arm.batch_size]
    rates = [t.examples_per_second for t in arm.all_trials if t.scored and t.examples_per_second]
    return statistics.median(rates) if rates else None


def _crossings(arm: Arm, target: float, objective: Objective) -> dict[int, Crossing]:
    """Return the crossings by seed; a seed that was run more than once counts with its last scored trial."""
    return {t.seed: _crossing(t, target, objective) for t in arm.trials if t.scored}


def _crossing(trial: Trial, target: float, objective: Objective) -> Crossing:
    """Return the crossing; a trial without a curve tells only whether its final score reaches the target, not when."""
    found = crossing(*trial.curve(objective.name), target, objective=objective)
    if found is not None or trial.score is None:
        return found or Crossing(False, math.nan, math.nan, None)
    return Crossing(objective.reaches(trial.score, target), math.nan, math.nan, None)
