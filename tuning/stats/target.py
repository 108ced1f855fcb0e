"""Examples and seconds to a target: when a training first reached it, and between which evaluations."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from tuning.objective import Objective
from tuning.stats.forecast import ThroughputLine, fit_throughput, knee


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


@dataclass(frozen=True)
class Timings:
    """Seconds of one update by batch size.

    Args:
        seconds_per_update: The measured seconds by batch size; at least one.
    """

    seconds_per_update: Mapping[int, float]

    @property
    def line(self) -> ThroughputLine | None:
        """The line t(B) = t0 + c*B where that describes the measurements, else None."""
        if len(self.seconds_per_update) < 2:
            return None
        line = fit_throughput(self.seconds_per_update)
        return line if line.accepted else None

    @property
    def knee(self) -> int:
        """The smallest measured size with 90 % of the best throughput."""
        return knee(self.seconds_per_update)

    def seconds(self, batch_size: int) -> float:
        """Return the seconds of one update at any size: by the line, else between the neighbours, in logarithms.

        A larger batch takes no less time; where it was measured to, the two share their mean (isotonic regression).
        Beyond the largest measured the throughput is taken to stay, below the smallest the seconds.

        Source: Barlow et al., Statistical Inference under Order Restrictions (1972), for the regression.
        """
        if self.line is not None:
            return self.line.seconds(batch_size)
        sizes = sorted(self.seconds_per_update)
        seconds = scipy.optimize.isotonic_regression([math.log(self.seconds_per_update[size]) for size in sizes]).x
        inside = math.exp(float(np.interp(math.log(batch_size), np.log(sizes), seconds)))
        return inside * max(1.0, batch_size / sizes[-1])

    def least(self, other: Timings) -> Timings:
        """Return the lesser of two measurements at each size, since what else runs can only slow a machine down."""
        sizes = {**self.seconds_per_update, **other.seconds_per_update}
        pairs = ((each.seconds_per_update.get(size, math.inf) for each in (self, other)) for size in sizes)
        return Timings(dict(zip(sizes, (min(pair) for pair in pairs), strict=True)))

    def examples_per_second(self, batch_sizes: Iterable[int]) -> dict[int, float]:
        """Return the throughput by batch size."""
        return {size: size / self.seconds(size) for size in batch_sizes}
