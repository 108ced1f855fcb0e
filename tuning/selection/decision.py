"""The decision: which batch sizes may be picked, how they compare, and which one is."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tuning.selection.arms import Arm
from tuning.selection.comparison import Comparison, compare
from tuning.selection.costs import EXAMPLES_TO_TARGET, SECONDS_TO_TARGET, Costs
from tuning.selection.efficiency import pool_efficiencies
from tuning.selection.pooling import Pooled, pool
from tuning.selection.rules import FASTEST, eligible_sizes, pick, stated_margin
from tuning.trial import Status

TIME_MARGIN = math.log(1.1)


@dataclass(frozen=True)
class Decision:
    """What was picked, and by which comparison.

    Args:
        chosen: The batch size.
        eligible: The batch sizes it was taken from, ascending.
        quality: The comparison of final scores, larger is better.
        times: The comparison of -log(cost to the target), larger is better; None unless that decided.
        pooled: The posterior of the true values of what decided; None if nothing is known of the noise.
        margin: The loss whose chance is stated: of score, or of log time; None if unknown.
        obstacle: Why batch sizes had to be admitted that normally are not; empty if they were not.
    """

    chosen: int
    eligible: tuple[int, ...]
    quality: Comparison
    times: Comparison | None
    pooled: Pooled | None
    margin: float | None
    obstacle: str

    @property
    def judged(self) -> Comparison:
        """The comparison that decided."""
        return self.times or self.quality

    @property
    def chance_of_loss(self) -> float | None:
        """Chance that the best of those compared beats the pick by more than the margin; None if unknown."""
        if self.pooled is None or self.margin is None:
            return None
        return self.pooled.chance_of_loss(self.chosen, self.margin)

    @property
    def expected_loss(self) -> float | None:
        """By how much the best of those compared is expected to beat the pick; None if unknown."""
        return None if self.pooled is None else self.pooled.expected_loss(self.chosen)


def decide(
    arms: Sequence[Arm], costs: Costs, *, maximize: bool, rule: str, tolerance: float | None, target: float | None
) -> Decision:
    """Pick a batch size.

    Without a target: the cheapest of those whose final score is within the rule's tolerance of the best. With one: only
    batch sizes that reached it on every seed may be picked. The rule "fastest" then takes the shortest time, because
    whoever names a target has said which score is good enough; a tolerance given beside it further asks for a final
    score within it of the best. Times are pooled first (`pooling`): on Zeus's traces the measured minimum costs a third
    to a half more excess time at 2 and 3 seeds than the pooled one.
    """
    candidates, obstacle = _candidates(arms, costs, target)
    sign = 1 if maximize else -1
    quality = compare({arm.batch_size: {s: sign * y for s, y in arm.scores.items()} for arm in candidates})
    if rule == FASTEST and costs.kind in (SECONDS_TO_TARGET, EXAMPLES_TO_TARGET) and not obstacle:
        near = quality.batch_sizes if tolerance is None else eligible_sizes(quality, rule, tolerance)
        return _decide_by_time(quality, costs, near)
    eligible = eligible_sizes(quality, rule, tolerance)
    chosen = pick(quality, eligible, costs.by_batch_size)
    margin = stated_margin(quality, tolerance)
    return Decision(chosen, eligible, quality, None, pool(quality), margin, obstacle)


def _decide_by_time(quality: Comparison, costs: Costs, sizes: tuple[int, ...]) -> Decision:
    efforts = compare({size: costs.log_efficiency(size) for size in sizes})
    offsets = {size: costs.log_rate(size) for size in sizes}
    means = tuple(mean + offsets[size] for mean, size in zip(efforts.means, sizes, strict=True))
    times = dataclasses.replace(efforts, means=means)
    pooled = pool_efficiencies(efforts)
    if pooled is None:
        return Decision(times.best, sizes, quality, times, None, TIME_MARGIN, "")
    pooled = pooled.shifted(offsets)
    chosen = max((size for size in sizes if not times.is_worse(size)), key=lambda size: (pooled.mean(size), size))
    return Decision(chosen, sizes, quality, times, pooled, TIME_MARGIN, "")


def _candidates(arms: Sequence[Arm], costs: Costs, target: float | None) -> tuple[list[Arm], str]:
    """The arms that may be picked, and what stood in the way of the usual demands if none met them."""
    scored = [arm for arm in arms if arm.scores]
    if any(arm.confirmed for arm in scored):
        scored = [arm for arm in scored if arm.confirmed]
    sound = [arm for arm in scored if not arm.broken and Status.PRUNED not in arm.lost.values()]
    if not sound:
        return scored, "no batch size completed all the seeds that were started"
    if target is None:
        return sound, ""
    reaching = [arm for arm in sound if costs.reached(arm.batch_size)]
    if not reaching:
        return sound, "no batch size reached the target on all its seeds"
    return reaching, ""


def unconfirmed(arms: Iterable[Arm]) -> list[int]:
    """Batch sizes that were searched but not confirmed although others were."""
    scored = [arm for arm in arms if arm.scores]
    if not any(arm.confirmed for arm in scored):
        return []
    return [arm.batch_size for arm in scored if not arm.confirmed]
