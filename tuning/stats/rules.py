"""The rules: how far from the best mean a batch size may lie, and which of those near enough is taken."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping

from tuning.stats.comparison import Comparison

FASTEST = "fastest"
BALANCED = "balanced"
QUALITY = "quality"
RULES = (FASTEST, BALANCED, QUALITY)

STANDARD_ERRORS = {FASTEST: 1.5, BALANCED: 1.0, QUALITY: 0.0}
COST_TIE = 1.1  # a machine's timings repeat to within about 10 %


def check_rule(rule: str) -> str:
    """Return the rule if there is one of this name.

    Raises:
        ValueError: If there is no such rule.
    """
    if rule not in RULES:
        raise ValueError(f"rule must be one of {', '.join(RULES)}; got {rule!r}.")
    return rule


def eligible_sizes(comparison: Comparison, rule: str, tolerance: float | None) -> tuple[int, ...]:
    """Return the batch sizes, ascending, whose gap to the best mean is within the rule's tolerance.

        gap[b] <= max(tolerance, min(c, d)*SE[b]),   c = 1.5 (fastest), 1 (balanced), 0 (quality)

    d is Dunnett's critical value, which for few batch sizes and many seeds can fall below c: a batch size that is
    called worse is never eligible unless the user tolerates the gap. With the noise unknown only the tolerance counts.

    On four HPOBench tables c = 1.5 costs a fifth of the standard deviation between seeds against taking the best of 3
    seeds, and trains 3 times faster; everything "not worse" (c = d) would cost a third.

    Source: the rule of one standard error: Breiman et al., Classification and Regression Trees (1984), section 3.4.3.
    """
    factor = STANDARD_ERRORS[rule]
    if comparison.critical is not None:
        factor = min(factor, comparison.critical)
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


def pick(comparison: Comparison, eligible: Iterable[int], costs: Mapping[int, float]) -> int:
    """Return the cheapest eligible batch size: of those within 10 % of the least cost, the best mean.

    Without any known cost the best mean; of equal means the larger batch size. A batch size of unknown cost is taken
    only if all are.
    """
    sizes = list(eligible)
    known = [size for size in sizes if size in costs]
    if known:
        least = min(costs[size] for size in known)
        sizes = [size for size in known if costs[size] <= COST_TIE * least]
    return max(sizes, key=lambda size: (comparison.mean(size), size))
