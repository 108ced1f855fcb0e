"""The decision: which batch sizes may be picked, how they compare, and which one is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tuning.selection.arms import Arm
from tuning.selection.comparison import Comparison, compare
from tuning.selection.costs import EXAMPLES_TO_TARGET, SECONDS_TO_TARGET, Costs
from tuning.selection.rules import FASTEST, eligible_sizes, pick
from tuning.trial import Status


@dataclass(frozen=True)
class Decision:
    """What was picked and by which comparison.

    Args:
        chosen: The batch size.
        eligible: The batch sizes it was the cheapest of, ascending; all that may be picked where time decided.
        quality: The comparison of final scores, larger is better.
        times: The comparison of -log(cost to the target), larger is better; None unless that decided.
        obstacle: Why batch sizes had to be admitted that normally are not; empty if they were not.
    """

    chosen: int
    eligible: tuple[int, ...]
    quality: Comparison
    times: Comparison | None
    obstacle: str

    @property
    def judged(self) -> Comparison:
        """The comparison that decided."""
        return self.times or self.quality


def decide(
    arms: Sequence[Arm], costs: Costs, *, maximize: bool, rule: str, tolerance: float | None, target: float | None
) -> Decision:
    """Pick a batch size.

    Without a target: the cheapest of those whose final score is within the rule's tolerance of the best. With one: only
    batch sizes that reached it on every seed may be picked; the rule "fastest" then takes the shortest mean (log) time,
    because whoever names a target has said which score is good enough; a tolerance further asks for a final score
    within it of the best.
    """
    candidates, obstacle = _candidates(arms, costs, target)
    sign = 1 if maximize else -1
    quality = compare({arm.batch_size: {s: sign * y for s, y in arm.scores.items()} for arm in candidates})
    sizes = quality.batch_sizes
    if rule == FASTEST and costs.kind in (SECONDS_TO_TARGET, EXAMPLES_TO_TARGET) and not obstacle:
        if tolerance is not None:
            sizes = eligible_sizes(quality, sizes, rule, tolerance)
        times = compare({size: _log_speeds(costs, size) for size in sizes})
        return Decision(times.best, sizes, quality, times, obstacle)
    eligible = eligible_sizes(quality, sizes, rule, tolerance)
    return Decision(pick(quality, eligible, costs.by_batch_size), eligible, quality, None, obstacle)


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


def _log_speeds(costs: Costs, batch_size: int) -> dict[int, float]:
    """-log of the cost to the target, by seed."""
    rate = costs.examples_per_second[batch_size] if costs.kind == SECONDS_TO_TARGET else 1.0
    return {seed: -math.log(c.examples / rate) for seed, c in costs.crossings[batch_size].items()}


def unconfirmed(arms: Iterable[Arm]) -> list[int]:
    """Batch sizes that were searched but not confirmed although others were."""
    scored = [arm for arm in arms if arm.scores]
    if not any(arm.confirmed for arm in scored):
        return []
    return [arm.batch_size for arm in scored if not arm.confirmed]
