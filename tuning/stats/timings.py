"""Timings: seconds of one update by batch size, measured with nothing else running."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.optimize import isotonic_regression

from tuning.stats.lines import ThroughputLine, fit_throughput, knee


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
        seconds = isotonic_regression([math.log(self.seconds_per_update[size]) for size in sizes]).x
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
