"""Which batch sizes a staged search tries: a reference, and six on both sides of where the best is forecast."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tuning.machine.facts import MachineFacts, NoiseFacts

MOST_SIZES = 6
LARGEST_REFERENCE = 64
_LEAST_STEP, _LARGEST_STEP = 1.0, 2.0  # powers of two
_BELOW, _ABOVE = 3.0, 2.0  # powers of two, from the outer forecasts


def reference_size(candidates: Sequence[int], machine: MachineFacts) -> int:
    """Where learning rates are tuned first: the candidate nearest to the knee, or to 64 if that is less.

    A larger one would leave few updates in the budget, a smaller one waste the machine.
    """
    return _nearest(candidates, min(machine.user.knee, LARGEST_REFERENCE))


def best_forecast(machine: MachineFacts, noise: NoiseFacts) -> float:
    """The batch size expected to reach a target soonest: B* = sqrt(B_crit*t0/c), the knee standing for t0/c where the
    timings follow no line.

    Source: Qiao et al., Pollux (2021), for the form.
    """
    line = machine.user.line
    half = math.inf if line is None else line.size_with_share(0.5)
    return math.sqrt(noise.critical_batch_size * (half if 0 < half < math.inf else machine.user.knee))


def sizes_to_search(
    candidates: Sequence[int], best: float, critical: float, count: int = MOST_SIZES
) -> tuple[int, ...]:
    """At most `count` candidates, ascending, from an eighth of the smaller forecast to four times the larger one.

    Neighbours are two to four times apart where the candidates are powers of two. What the candidates cut off at one
    end is added at the other.

    Args:
        candidates: Ascending.
        best: Forecast of the size that reaches the target soonest.
        critical: Forecast of the critical batch size.
        count: How many.

    >>> sizes_to_search([2**z for z in range(13)], best=200.0, critical=110.0)
    (16, 32, 64, 128, 256, 1024)
    >>> sizes_to_search([2**z for z in range(8)], best=200.0, critical=110.0)
    (4, 8, 16, 32, 64, 128)
    """
    if len(candidates) <= count:
        return tuple(candidates)
    lowest, highest = math.log2(candidates[0]), math.log2(candidates[-1])
    low = math.log2(min(best, critical)) - _BELOW
    high = min(highest, math.log2(max(best, critical)) + _ABOVE)
    step = min(_LARGEST_STEP, max(_LEAST_STEP, (high - low) / (count - 1)))
    low = max(lowest, min(low, high - (count - 1) * step))
    high = min(highest, max(high, low + (count - 1) * step))
    wanted = [2 ** (low + (high - low) * i / (count - 1)) for i in range(count)]
    return tuple(sorted(_distinct(candidates, wanted)))


def _distinct(candidates: Sequence[int], wanted: Sequence[float]) -> list[int]:
    """The nearest candidate to each wish that no wish before it has taken."""
    left = list(candidates)
    found = []
    for wish in wanted:
        found.append(_nearest(left, wish))
        left.remove(found[-1])
    return found


def _nearest(candidates: Sequence[int], wish: float) -> int:
    return min(candidates, key=lambda size: abs(math.log(size / wish)))
