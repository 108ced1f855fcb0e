"""The rules that turn a comparison and the costs into one pick."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tuning.selection.comparison import Comparison

FASTEST = "fastest"
BALANCED = "balanced"
QUALITY = "quality"
RULES = (FASTEST, BALANCED, QUALITY)

STANDARD_ERRORS = {FASTEST: 2.0, BALANCED: 1.0, QUALITY: 0.0}


def check_rule(rule: str) -> str:
    """Return the rule.

    Raises:
        ValueError: If there is no such rule.
    """
    if rule not in RULES:
        raise ValueError(f"rule must be one of {', '.join(RULES)}; got {rule!r}.")
    return rule


def eligible_sizes(
    comparison: Comparison, allowed: Iterable[int], rule: str, tolerance: float | None
) -> tuple[int, ...]:
    """Return the batch sizes, ascending, whose gap to the best mean is within the rule's tolerance.

        gap[b] <= max(tolerance, min(c, d)*SE[b]),   c = 2 (fastest), 1 (balanced), 0 (quality)

    d is the comparison's own critical value: a batch size that is called worse is never eligible, unless the user
    tolerates the gap. With the noise unknown only the tolerance counts.
    """
    factor = STANDARD_ERRORS[rule]
    if comparison.critical is not None:
        factor = min(factor, comparison.critical)
    chosen = []
    for size in sorted(allowed):
        error = comparison.standard_error(size) or 0.0
        if comparison.gap(size) <= max(tolerance or 0.0, factor * error):
            chosen.append(size)
    return tuple(chosen)


def pick(comparison: Comparison, eligible: Iterable[int], costs: Mapping[int, float]) -> int:
    """Return the cheapest eligible batch size; without costs the best mean; ties by the larger mean, then size.

    A batch size of unknown cost comes after all of known cost.
    """
    known = any(size in costs for size in eligible)

    def order(size: int) -> tuple[float, float, int]:
        cost = costs.get(size, float("inf")) if known else 0.0
        return cost, -comparison.mean(size), -size

    return min(eligible, key=order)
