"""Examples to a target: when a training first reached it, and between which evaluations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tuning.objective import Objective


@dataclass(frozen=True)
class Crossing:
    """The point at which one training reached the target, counted in examples (divide by the batch size for updates).

    Args:
        reached: Whether it did.
        examples: The estimate; where it was never reached, the last evaluation, so that the truth is larger
            (right-censored).
        low: The last evaluation that missed it; 0 if the first one reached it.
        high: The first evaluation that reached it; None if none did. The truth lies in (low, high].
    """

    reached: bool
    examples: float
    low: float
    high: float | None


def crossing(
    examples_seen: Sequence[float], objective_curve: Sequence[float], target: float, *, objective: Objective
) -> Crossing | None:
    """Return when the curve first reached the target, or None if it has no evaluation.

    Between the last miss (x0, m0) and the first hit (x1, m1) the objective, or its logarithm when a positive quantity
    is minimised (losses fall like a power of the examples, so their logarithm is the straighter line), is interpolated:

        x = x0 + (x1 - x0)*(target - m0)/(m1 - m0)

    A first evaluation that already reaches it has no miss before it: the estimate is then that evaluation, an upper
    bound. Pass the untrained model's score at 0 examples to avoid that.

    Args:
        examples_seen: Training examples at each evaluation, increasing; 0 allowed.
        objective_curve: The objective at each; not a number is a miss.
        target: The score to reach.
        objective: The metric that decides.

    Raises:
        ValueError: If the curves differ in length.

    Source: Kaplan et al., Scaling Laws for Neural Language Models (2020), section 5: losses are powers of the updates.
    """
    if len(examples_seen) != len(objective_curve):
        raise ValueError(
            f"A curve needs one objective per evaluation; got {len(examples_seen)} and {len(objective_curve)}."
        )
    if not examples_seen:
        return None
    hits = [i for i, value in enumerate(objective_curve) if objective.reaches(value, target)]
    if not hits:
        last = float(examples_seen[-1])
        return Crossing(False, last, last, None)
    i = hits[0]
    high = float(examples_seen[i])
    if i == 0:
        return Crossing(True, high, 0.0, high)
    low = float(examples_seen[i - 1])
    share = _share(objective_curve[i - 1], objective_curve[i], target, logarithmic=objective.sign < 0)
    return Crossing(True, low + (high - low) * share, low, high)


def _share(miss: float, hit: float, target: float, *, logarithmic: bool) -> float:
    """Return how far the target lies on the way from the miss to the hit; 1 if the miss is not a finite number."""
    if not math.isfinite(miss) or not math.isfinite(hit):
        return 1.0
    if logarithmic and min(miss, hit, target) > 0:
        miss, hit, target = math.log(miss), math.log(hit), math.log(target)
    return (target - miss) / (hit - miss)


def geometric_mean(values: Sequence[float]) -> float:
    """Return exp of the mean logarithm: times to a target spread by factors, not by differences.

    Raises:
        ValueError: If there are no values or one is not positive.

    Source: Fleming and Wallace, How Not to Lie with Statistics: The Correct Way to Summarize Benchmark Results (1986).
    """
    if not values or min(values) <= 0:
        raise ValueError(f"geometric_mean needs positive values; got {list(values)!r:.80}.")
    return math.exp(math.fsum(math.log(value) for value in values) / len(values))
