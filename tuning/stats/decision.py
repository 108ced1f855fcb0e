"""The decision: how far from the best mean a batch size may lie, and which of those near enough is taken."""

from __future__ import annotations

import dataclasses
import functools
import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from tuning.objective import Objective
from tuning.stats.arms import Arm
from tuning.stats.comparison import Comparison, compare
from tuning.stats.costs import EXAMPLES_TO_TARGET, JOULES_TO_TARGET, SECONDS_TO_TARGET, Costs
from tuning.stats.efficiency import losses_of_rates, pool_times, shared_variances
from tuning.stats.pooling import Pooled, pool
from tuning.stats.rate_profile import RateLoss
from tuning.stats.rules import BALANCED, FASTEST, QUALITY
from tuning.stats.runs import runs_of
from tuning.trial import Status

STANDARD_ERRORS = {FASTEST: 1.5, BALANCED: 1.0, QUALITY: 0.0}
COST_TIE = 1.1  # a machine's timings repeat to within about 10 %


def eligible_sizes(comparison: Comparison, rule: str, tolerance: float | None) -> tuple[int, ...]:
    """Return the batch sizes, ascending, whose gap to the best mean is within the rule's tolerance.

        gap[b] <= max(tolerance, c*SE[b]),   c = 1.5 (fastest), 1 (balanced), 0 (quality)

    A batch size that is called worse, which takes at least 1.64 standard errors, is never eligible unless the user
    tolerates the gap. With the noise unknown only the tolerance counts.

    On four HPOBench tables c = 1.5 costs a fifth of the standard deviation between seeds against taking the best of 3
    seeds, and trains 3 times faster; everything up to 2 standard errors would cost a third.

    Source: the rule of one standard error: Breiman et al., Classification and Regression Trees (1984), section 3.4.3.
    """
    factor = STANDARD_ERRORS[rule]
    return tuple(
        size
        for size in comparison.batch_sizes
        if comparison.gap(size) <= max(tolerance or 0.0, factor * (comparison.common_error(size) or 0.0))
    )


def stated_margin(comparison: Comparison, tolerance: float | None) -> float | None:
    """Return the loss of score whose chance is stated: what `fastest` tolerates; None if the noise is unknown."""
    if comparison.sigma is None:
        return tolerance
    error = comparison.sigma * math.sqrt(2 / statistics.median(comparison.seeds))
    return max(tolerance or 0.0, STANDARD_ERRORS[FASTEST] * error)


def pick(
    comparison: Comparison, eligible: Iterable[int], costs: Mapping[int, float], ties: Mapping[int, float] | None = None
) -> int:
    """Return the cheapest eligible batch size: of those within 10 % of the least cost, the best mean.

    Without any known cost the best mean; of equal means the larger batch size. A batch size of unknown cost is taken
    only if all are.

    Args:
        comparison: The comparison of final scores.
        eligible: The batch sizes that may be picked.
        costs: The cost of each batch size that has one.
        ties: A second cost: of those within 10 % of the least first one, those within 10 % of the least second one.
    """
    sizes = list(eligible)
    for each in (costs, ties or {}):
        known = [size for size in sizes if size in each]
        if known:
            least = min(each[size] for size in known)
            sizes = [size for size in known if each[size] <= COST_TIE * least]
    return max(sizes, key=lambda size: (comparison.mean(size), size))


TIME_MARGIN = math.log(1.1)
_TO_TARGET = (SECONDS_TO_TARGET, EXAMPLES_TO_TARGET, JOULES_TO_TARGET)


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
        rate_loss: What the pick is expected to lose because learning rates between those tried were not, in log time;
            None where that is not known.
    """

    chosen: int
    eligible: tuple[int, ...]
    quality: Comparison
    times: Comparison | None
    pooled: Pooled | None
    margin: float | None
    obstacle: str
    rate_loss: float | None = None

    @property
    def judged(self) -> Comparison:
        """The comparison that decided."""
        return self.times or self.quality

    @property
    def chance_of_loss(self) -> float | None:
        """The chance that the best of those compared beats the pick by more than the margin; None if unknown."""
        if self.pooled is None or self.margin is None:
            return None
        return self.pooled.chance_of_loss(self.chosen, self.margin)

    @property
    def expected_loss(self) -> float | None:
        """The loss expected of the pick against the best of those compared; None if unknown."""
        return None if self.pooled is None else self.pooled.expected_loss(self.chosen)


def decide(
    arms: Sequence[Arm], costs: Costs, *, objective: Objective, rule: str, tolerance: float | None, target: float | None
) -> Decision:
    """Return the batch size picked, with what it was compared with.

    Without a target: the cheapest of those whose final score is within the rule's tolerance of the best. With one: only
    batch sizes that reached it may be picked (`Costs.reached`). The rule "fastest" then takes the shortest time, or the
    least energy where that is the cost, because
    whoever names a target has said which score is good enough; a tolerance given beside it further asks for a final
    score within it of the best. Times are pooled first (`efficiency`): on Zeus's traces the measured minimum costs a
    third to a half more excess time at 2 and 3 seeds than the pooled one.

    Energy to a target is not traded for time: taking the soonest of those within 10 % of the least expected energy cost
    twice the excess energy on Zeus's traces at 2 seeds and three times at 3, and saved no time.
    """
    candidates, obstacle = _candidates(arms, costs, target)
    sign = objective.sign
    scores = {arm.batch_size: {s: sign * y for s, y in arm.scores.items()} for arm in candidates}
    quality = compare(scores)
    if rule == FASTEST and costs.kind in _TO_TARGET and not obstacle:
        near = quality.batch_sizes if tolerance is None else eligible_sizes(quality, rule, tolerance)
        losses = functools.partial(losses_of_rates, candidates, target or 0.0, objective)
        return _decide_by_time(quality, costs, near, losses)
    eligible = eligible_sizes(quality, rule, tolerance)
    chosen = pick(quality, eligible, costs.by_batch_size, costs.ties)
    margin = stated_margin(quality, tolerance)
    pooled = pool(runs_of(scores, blocked=quality.blocked, inflation=quality.inflation))
    return Decision(chosen, eligible, quality, None, pooled, margin, obstacle)


def _decide_by_time(
    quality: Comparison, costs: Costs, sizes: tuple[int, ...], losses: Callable[[float | None], dict[int, RateLoss]]
) -> Decision:
    scores = {size: costs.log_efficiency(size) for size in sizes}
    efforts = compare(scores)
    means = tuple(
        mean + costs.log_rate(size) - costs.miss_loss(size).mean
        for mean, size in zip(efforts.means, sizes, strict=True)
    )
    owed = losses(efforts.sigma)
    variances = shared_variances(sizes, costs, owed)
    times = dataclasses.replace(efforts, means=means, shared=tuple(variances[size] for size in sizes))
    pooled = pool_times(scores, efforts, costs, owed)
    if pooled is None:
        return Decision(times.best, sizes, quality, times, None, TIME_MARGIN, "")
    at_rate = {size: pooled.mean(size) - (owed[size].mean if size in owed else 0.0) for size in sizes}
    chosen = max((size for size in sizes if not times.is_worse(size)), key=lambda size: (at_rate[size], size))
    rate_loss = owed[chosen].mean if chosen in owed else None
    return Decision(chosen, sizes, quality, times, pooled, TIME_MARGIN, "", rate_loss)


def _candidates(arms: Sequence[Arm], costs: Costs, target: float | None) -> tuple[list[Arm], str]:
    """Return the arms that may be picked, and what stood in the way of the usual demands if none met them."""
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
        return sound, "no batch size reached the target on enough of its seeds"
    return reaching, ""


def unconfirmed(arms: Iterable[Arm]) -> list[int]:
    """Return the batch sizes that were searched but not confirmed although others were."""
    scored = [arm for arm in arms if arm.scores]
    if not any(arm.confirmed for arm in scored):
        return []
    return [arm.batch_size for arm in scored if not arm.confirmed]


def is_worse(batch_size: int, decision: Decision) -> bool:
    """Return whether the comparison that decided calls it worse than the best, or its score ruled it out before."""
    judged = decision.judged
    return batch_size not in judged.batch_sizes or judged.is_worse(batch_size)
