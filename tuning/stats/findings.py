"""The findings: everything that the words of a recommendation are made of, the fits and the trade-offs included."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from tuning.objective import Objective
from tuning.stats.arms import Arm
from tuning.stats.costs import Costs
from tuning.stats.decision import Decision, is_worse
from tuning.stats.forecast import ThroughputLine, fit_throughput
from tuning.stats.rules import TIME
from tuning.stats.scaling_law import ScalingLaw, TimeOptimum, fit_scaling_law, time_optimum


@dataclass(frozen=True)
class Findings:
    """What was asked and what was found.

    Args:
        objective: The metric that decides.
        rule: The rule that picked.
        tolerance: The accepted loss of score, or None.
        target: The objective to reach, or None.
        planned_seeds: The seeds that each batch size was meant to have, or None.
        arms: Every batch size, ascending.
        costs: What each costs.
        decision: What was picked, by which comparison.
        explanation: The fits.
        cost: What was asked to decide between batch sizes that are good enough: "time" or "energy".
    """

    objective: Objective
    rule: str
    tolerance: float | None
    target: float | None
    planned_seeds: int | None
    arms: Sequence[Arm]
    costs: Costs
    decision: Decision
    explanation: Explanation
    cost: str = TIME

    @property
    def chosen(self) -> Arm:
        """The picked arm."""
        return self.arm(self.decision.chosen)

    @property
    def others(self) -> list[int]:
        """The batch sizes that the pick was compared with."""
        return [size for size in self.decision.judged.batch_sizes if size != self.decision.chosen]

    @property
    def tied(self) -> list[int]:
        """The others that cannot be told from the best."""
        return [size for size in self.others if not is_worse(size, self.decision)]

    @property
    def least_seeds(self) -> int:
        """The fewest seeds of the pick, the best, and what is tied with it."""
        judged, compared = self.decision.judged, {self.decision.chosen, self.decision.judged.best, *self.tied}
        return min(n for size, n in zip(judged.batch_sizes, judged.seeds, strict=True) if size in compared)

    @property
    def seeds_to_separate(self) -> int | None:
        """The seeds that would tell the pick, or one tied with it, from the best if their gaps are real.

        It is None where that is not known. They are more than there are, since those have not told them apart.
        """
        judged = self.decision.judged
        found = [judged.seeds_to_separate(size) for size in (self.decision.chosen, *self.tied)]
        known = [seeds for seeds in found if seeds is not None]
        return max(self.least_seeds + 1, min(known)) if known else None

    def arm(self, batch_size: int) -> Arm:
        """Return the arm of a batch size."""
        return next(arm for arm in self.arms if arm.batch_size == batch_size)

    def mean(self, batch_size: int) -> float:
        """Return the mean final score in the objective's own direction."""
        return self.objective.sign * self.decision.quality.mean(batch_size)


LEAST_POINTS = 3  # every line fits two points

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class TradeOff:
    """One batch size in everything that may matter; None where unknown.

    Args:
        batch_size: The batch size.
        objective: The mean final score, in the objective's own direction.
        cost: What a training with it costs; `Costs.kind` says what that is.
        examples_to_target: The geometric mean over the seeds that reached it, raised by what misses cost.
        peak_memory_bytes: The largest peak of its trials.
        efficient: Whether no other batch size is at least as good in all of these and better in one.
    """

    batch_size: int
    objective: float
    cost: float | None
    examples_to_target: float | None
    peak_memory_bytes: float | None
    efficient: bool


@dataclass(frozen=True)
class Explanation:
    """Fits that explain and plan; the pick itself is made on what was measured.

    Args:
        scaling_law: Updates to the target; None without a target that three batch sizes or more reached.
        throughput_line: Seconds per update; None if fewer than three batch sizes have a throughput.
        optimum: B*; None unless B_crit is identified and the line describes the timings.
        pareto: The trade-offs between score, cost, examples to the target and memory, by batch size ascending.
    """

    scaling_law: ScalingLaw | None
    throughput_line: ThroughputLine | None
    optimum: TimeOptimum | None
    pareto: tuple[TradeOff, ...]


def explain(arms: Sequence[Arm], costs: Costs, means: Mapping[int, float], *, objective: Objective) -> Explanation:
    """Return the fits that the trials allow, and the trade-offs.

    Args:
        arms: Every batch size.
        costs: What each costs, and when its seeds reached the target.
        means: The mean score of each batch size that was compared, in the objective's own direction.
        objective: The metric that decides.
    """
    law = _law(arms, costs)
    line = _line(costs)
    optimum = None
    if law is not None and line is not None and law.describes_updates and line.accepted:
        optimum = time_optimum(law, line, largest=max(arm.batch_size for arm in arms if arm.scores))
    return Explanation(law, line, optimum, _pareto(arms, costs, means, objective))


def _law(arms: Sequence[Arm], costs: Costs) -> ScalingLaw | None:
    updates = {
        arm.batch_size: [c.examples / arm.batch_size for c in costs.crossings[arm.batch_size].values()]
        for arm in arms
        if not arm.broken and not costs.missed(arm.batch_size) and costs.examples_to_target(arm.batch_size) is not None
    }
    at_edge = [arm.batch_size for arm in arms if arm.edge and arm.batch_size in updates]
    if len(updates) - len(at_edge) < LEAST_POINTS:
        return None
    return fit_scaling_law(updates, at_edge=at_edge)


def _line(costs: Costs) -> ThroughputLine | None:
    if len(costs.examples_per_second) < LEAST_POINTS:
        return None
    return fit_throughput({size: size / rate for size, rate in costs.examples_per_second.items()})


def _pareto(
    arms: Sequence[Arm], costs: Costs, means: Mapping[int, float], objective: Objective
) -> tuple[TradeOff, ...]:
    sign = -objective.sign
    peaks = {arm.batch_size: arm.peak_memory_bytes for arm in arms}
    points = {
        size: (mean, costs.by_batch_size.get(size), costs.examples_to_target(size), peaks[size])
        for size, mean in means.items()
    }
    front = pareto_front({size: (sign * point[0], *point[1:]) for size, point in points.items()})
    return tuple(TradeOff(size, *point, efficient=size in front) for size, point in points.items())


def pareto_front(points: Mapping[Key, Sequence[float | None]]) -> list[Key]:
    """Return the keys, in the given order, of the points that no other point dominates; smaller is better throughout.

    One point dominates another if it is nowhere larger and somewhere smaller. Of equal points none dominates. A
    column in which any point has no finite number is left out, because domination over different columns is not
    transitive; without any usable column every point is on the front.

    Args:
        points: Numbers to minimise, one sequence per key, all of one length; negate what is to be maximised.

    Raises:
        ValueError: If the sequences differ in length.

    Source: Kung, Luccio and Preparata, On Finding the Maxima of a Set of Vectors (1975).
    """
    rows = list(points.values())
    if len({len(row) for row in rows}) > 1:
        raise ValueError(f"Points must have equally many numbers; got lengths {sorted({len(row) for row in rows})}.")
    columns = [column for column in zip(*rows, strict=True) if all(v is not None and math.isfinite(v) for v in column)]
    usable = dict(zip(points, zip(*columns, strict=True), strict=True)) if columns else dict.fromkeys(points, ())
    return [key for key, point in usable.items() if not any(_dominates(other, point) for other in usable.values())]


def _dominates(a: Sequence[float], b: Sequence[float]) -> bool:
    return tuple(a) != tuple(b) and all(x <= y for x, y in zip(a, b, strict=True))
