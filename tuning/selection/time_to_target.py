"""Seconds to a target against the batch size: the fitted curve, its optimum B* and how flat it is around it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tuning.selection.scaling_law import ScalingLaw
from tuning.selection.throughput import ThroughputLine

FLATNESS = 0.05


@dataclass(frozen=True)
class TimeOptimum:
    """Where the fitted time to the target is least. It explains and plans; the pick is made on measured times.

    Args:
        batch_size: B* = sqrt(B_crit*t0/c), clipped to the sizes allowed.
        clipped: "smallest" or "largest" if it was clipped to that end, else empty.
        seconds: T at that size.
        flat_zone: The sizes, within those allowed, that cost at most 5 % more (or what `flatness` says).
        advised: The smallest power of two in the flat zone; without one, the allowed size nearest to B* (as a power of
            two if one is allowed).
    """

    batch_size: float
    clipped: str
    seconds: float
    flat_zone: tuple[float, float]
    advised: int


def seconds_to_target(law: ScalingLaw, line: ThroughputLine, batch_size: float) -> float:
    """Return T(B) = S(B)*t(B), the updates that the law expects times the seconds that each takes."""
    return law.updates(batch_size) * line.seconds(batch_size)


def time_ratio(factor: float, share: float) -> float:
    """Return T(x*B*)/T(B*) = 1 + (x + 1/x - 2)*rho.

    Args:
        factor: x, how far from the optimum.
        share: rho = p*q/(p + q)^2 with p = sqrt(S_min*t0), q = sqrt(E_min*c); at most 1/4, so that a factor of two
            costs at most 12.5 % and a factor of four at most 56.25 %.
    """
    return 1 + (factor + 1 / factor - 2) * share


def log_optimum_error(log_critical_error: float, log_overhead_error: float) -> float:
    """Standard error of ln B*: half of the root of the summed variances of ln B_crit and ln(t0/c)."""
    return 0.5 * math.hypot(log_critical_error, log_overhead_error)


def time_optimum(
    law: ScalingLaw, line: ThroughputLine, *, smallest: int = 1, largest: int, flatness: float = FLATNESS
) -> TimeOptimum:
    """Return the optimum of

        T(B) = S_min*t0 + E_min*c + S_min*c*B + E_min*t0/B;   B* = sqrt(B_crit*t0/c)

    which is the optimum of Pollux's goodput, throughput times statistical efficiency B/(t0 + c*B) * 1/(1 + B/B_crit).
    Without overhead (t0 = 0) it is the smallest size allowed; with free examples (c = 0) the largest.

    Args:
        law: Updates to the target.
        line: Seconds per update.
        smallest: Least size allowed.
        largest: Greatest size allowed: what fits in memory, or the largest tested.
        flatness: f: the flat zone holds the sizes with T <= (1 + f)*T(optimum).

    Raises:
        ValueError: If the allowed range is empty or the flatness is negative.

    Source: the form of the goodput: Qiao et al., Pollux (2021), section 3.
    """
    if not 1 <= smallest <= largest:
        raise ValueError(f"smallest must be at least 1 and not exceed largest; got {smallest} and {largest}.")
    if flatness < 0:
        raise ValueError(f"flatness must not be negative; got {flatness}.")
    t0, c = line.seconds_per_update, line.seconds_per_example
    free = math.inf if c == 0 else math.sqrt(law.critical_batch_size * t0 / c)
    best = min(max(free, smallest), largest)
    clipped = "smallest" if free < smallest else "largest" if free > largest else ""
    seconds = seconds_to_target(law, line, best)
    zone = _flat_zone(law, line, (1 + flatness) * seconds, smallest, largest)
    return TimeOptimum(float(best), clipped, seconds, zone, _advised(best, zone, smallest, largest))


def _flat_zone(law: ScalingLaw, line: ThroughputLine, limit: float, smallest: int, largest: int) -> tuple[float, float]:
    """Ends of {B: T(B) <= limit}: the roots of S_min*c*B^2 - (limit - S_min*t0 - E_min*c)*B + E_min*t0."""
    square = law.smallest_updates * line.seconds_per_example
    constant = law.smallest_examples * line.seconds_per_update
    linear = limit - law.smallest_updates * line.seconds_per_update - law.smallest_examples * line.seconds_per_example
    root = math.sqrt(max(0.0, linear**2 - 4 * square * constant))
    low = 2 * constant / (linear + root)  # the stable form of (linear - root)/(2*square)
    high = math.inf if square == 0 else (linear + root) / (2 * square)
    return max(low, float(smallest)), min(high, float(largest))


def _advised(best: float, zone: tuple[float, float], smallest: int, largest: int) -> int:
    powers = [1 << k for k in range(largest.bit_length()) if smallest <= 1 << k <= largest]
    inside = [power for power in powers if zone[0] <= power <= zone[1]]
    if inside:
        return inside[0]
    return min(powers or [smallest, largest], key=lambda size: abs(math.log(size / best)))
