"""Where a search should look: one forecast of the batch size that reaches a target soonest, and the sizes around it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tuning.stats.lines import ThroughputLine

MOST_SIZES = 6
LARGEST_REFERENCE = 64
_LARGEST = 4096
_UPDATES_PER_EPOCH = 8
_LEAST_STEP, _LARGEST_STEP = 1.0, 2.0  # powers of two
_BELOW, _ABOVE = 3.0, 2.0  # powers of two, from the outer forecasts


def best_forecast(line: ThroughputLine | None, knee: int, critical: float) -> float:
    """Return the batch size that is expected to reach a target soonest.

        B* = sqrt(B_crit * t0/c),    t(B) = t0 + c*B the seconds of an update

    Where the timings follow no line, the knee stands for t0/c, at which half of the throughput is reached.

    Args:
        line: t(B), where it describes the timings; else None.
        knee: The smallest size with 90 % of the best throughput.
        critical: B_crit, or the gradient noise scale in its place.

    Source: Qiao et al., Pollux (2021), for the form; the noise scale predicts the critical batch size only roughly.
    """
    half = math.inf if line is None else line.size_with_share(0.5)
    return math.sqrt(critical * (half if 0 < half < math.inf else knee))


def candidate_sizes(n_train: int, largest_fitting: int | None = None) -> tuple[int, ...]:
    """Return the powers of two that a search may choose from, ascending.

    They go up to 4096, leave at least 8 updates in an epoch, and fit; none where nothing fits.

    >>> candidate_sizes(1437)
    (1, 2, 4, 8, 16, 32, 64, 128)
    >>> candidate_sizes(1437, largest_fitting=48)
    (1, 2, 4, 8, 16, 32)
    """
    largest = max(1, min(_LARGEST, n_train // _UPDATES_PER_EPOCH))
    if largest_fitting is not None:
        largest = min(largest, largest_fitting)
    return tuple(2**power for power in range(largest.bit_length()))


def reference_size(candidates: Sequence[int], knee: int) -> int:
    """Return where learning rates are tuned first: the candidate nearest to the knee, or to 64 if that is less.

    A larger one would leave few updates in the budget, a smaller one waste the machine.
    """
    return _nearest(candidates, min(knee, LARGEST_REFERENCE))


def sizes_to_search(
    candidates: Sequence[int], best: float, critical: float, count: int = MOST_SIZES
) -> tuple[int, ...]:
    """Return at most `count` candidates, from an eighth of the smaller forecast to four times the larger one.

    Neighbours are two to four times apart where the candidates are powers of two. What the candidates cut off at one
    end is added at the other.

    Args:
        candidates: Batch sizes, ascending.
        best: A forecast of the size that reaches the target soonest.
        critical: A forecast of the critical batch size.
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
    """Return the nearest candidate to each wish that no wish before it has taken."""
    left = list(candidates)
    found = []
    for wish in wanted:
        found.append(_nearest(left, wish))
        left.remove(found[-1])
    return found


def _nearest(candidates: Sequence[int], wish: float) -> int:
    return min(candidates, key=lambda size: abs(math.log(size / wish)))
