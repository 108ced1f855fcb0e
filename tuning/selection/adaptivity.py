"""Which batch sizes are worth another seed, and when enough is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tuning.selection.arms import group_into_arms
from tuning.selection.costs import arm_costs
from tuning.selection.decision import decide
from tuning.selection.results import TrialResult
from tuning.selection.rules import FASTEST, check_rule
from tuning.selection.verdicts import is_worse

MOST_SEEDS = 5
ENOUGH = 0.10


def sizes_worth_another_seed(
    results: Sequence[TrialResult],
    *,
    maximize: bool,
    rule: str = FASTEST,
    tolerance: float | None = None,
    target: float | None = None,
    throughput: Mapping[int, float] | None = None,
    most_seeds: int = MOST_SEEDS,
    enough: float = ENOUGH,
) -> tuple[int, ...]:
    """Return the batch sizes, ascending, to train once more with one fresh seed, the same for all; empty if enough.

    Those that are clearly worse are dropped; the pick and all that it cannot be told from go on, until the chance that
    the pick loses more than the margin (`Decision.chance_of_loss`) falls below `enough`, or each has `most_seeds`. With
    the noise still unknown every batch size goes on.

    Because the chance is that of pooled means, an evident tie ends at three seeds: a flat prior would put it above 12 %
    for any pick but the best mean, however equal they are, and always ask for a fourth seed.

    Args:
        results: The trials so far; those of stage "confirm" decide where there are any.
        maximize: Whether a larger objective is better.
        rule: As in `recommend`, as are `tolerance`, `target` and `throughput`.
        tolerance: See there.
        target: See there.
        throughput: See there.
        most_seeds: No batch size gets more.
        enough: Chance of loss at which to stop.
    """
    check_rule(rule)
    if not any(result.scored for result in results):
        return ()
    arms = group_into_arms(results, maximize=maximize, target=target)
    costs = arm_costs(arms, maximize=maximize, target=target, throughput=throughput)
    decision = decide(arms, costs, maximize=maximize, rule=rule, tolerance=tolerance, target=target)
    judged = decision.judged
    going_on = [size for size in judged.batch_sizes if size == decision.chosen or not is_worse(size, decision)]
    chance = decision.chance_of_loss
    if len(going_on) < 2 or (judged.sigma is not None and chance is not None and chance < enough):
        return ()
    seeds = dict(zip(judged.batch_sizes, judged.seeds, strict=True))
    return tuple(size for size in going_on if seeds[size] < most_seeds)
