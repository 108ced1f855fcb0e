"""The names of what a recommendation may be picked by; light to import, since the command line lists them."""

from __future__ import annotations

FASTEST = "fastest"
BALANCED = "balanced"
QUALITY = "quality"
RULES = (FASTEST, BALANCED, QUALITY)

TIME = "time"
ENERGY = "energy"
COSTS = (TIME, ENERGY)

LEAST_SEEDS = 2
"""The fewest seeds that show the noise; more go to the batch sizes that are worth them."""

TOLERANCE_LOSS = 0.01
"""The share of its time that a pick may be expected to lose; no further seeds are trained for less."""


def check_rule(rule: str) -> str:
    """Return the rule if there is one of this name.

    Raises:
        ValueError: If there is no such rule.
    """
    if rule not in RULES:
        raise ValueError(f"rule must be one of {', '.join(RULES)}; got {rule!r}.")
    return rule


def check_cost(cost: str) -> str:
    """Return the cost if there is one of this name.

    Raises:
        ValueError: If there is no such cost.
    """
    if cost not in COSTS:
        raise ValueError(f"cost must be one of {', '.join(COSTS)}; got {cost!r}.")
    return cost
