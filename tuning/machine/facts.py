"""What was measured before the trainings: the machine's limits and speed, and how noisy the gradient is."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import isotonic_regression

from tuning.stats.lines import ThroughputLine, fit_throughput, knee

GUESSED_NOISE_SCALE = 256.0
"""What stands for a noise scale that could not be measured."""


@dataclass(frozen=True)
class Timings:
    """Seconds of one update by batch size, measured with nothing else running.

    Args:
        seconds_per_update: As measured; at least one batch size.
    """

    seconds_per_update: Mapping[int, float]

    @property
    def line(self) -> ThroughputLine | None:
        """`t(B) = t0 + c*B` where that describes the measurements, else None."""
        if len(self.seconds_per_update) < 2:
            return None
        line = fit_throughput(self.seconds_per_update)
        return line if line.accepted else None

    @property
    def knee(self) -> int:
        """The smallest measured size with 90 % of the best throughput."""
        return knee(self.seconds_per_update)

    def seconds(self, batch_size: int) -> float:
        """Of one update at any size: by the line, else between the neighbours measured, in logarithms.

        A larger batch takes no less time; where it was measured to, the two share their mean (isotonic regression).
        Beyond the largest measured the throughput is taken to stay, below the smallest the seconds.
        """
        if self.line is not None:
            return self.line.seconds(batch_size)
        sizes = sorted(self.seconds_per_update)
        seconds = isotonic_regression([math.log(self.seconds_per_update[size]) for size in sizes]).x
        inside = math.exp(float(np.interp(math.log(batch_size), np.log(sizes), seconds)))
        return inside * max(1.0, batch_size / sizes[-1])

    def least(self, other: Timings) -> Timings:
        """The lesser of two measurements at each size, since what else runs on a machine can only slow it down."""
        sizes = {**self.seconds_per_update, **other.seconds_per_update}
        pairs = ((each.seconds_per_update.get(size, math.inf) for each in (self, other)) for size in sizes)
        return Timings(dict(zip(sizes, (min(pair) for pair in pairs), strict=True)))

    def to_json(self) -> dict[str, float]:
        """Plain JSON values; `from_json` reads them."""
        return {str(size): seconds for size, seconds in self.seconds_per_update.items()}

    @classmethod
    def from_json(cls, values: Mapping[str, float]) -> Timings:
        """What `to_json` wrote."""
        return cls({int(size): seconds for size, seconds in values.items()})

    def examples_per_second(self, batch_sizes: Iterable[int]) -> dict[int, float]:
        """Throughput by batch size."""
        return {size: size / self.seconds(size) for size in batch_sizes}


@dataclass(frozen=True)
class MachineFacts:
    """What the machine can do.

    Args:
        largest_batch_size: That fits into memory; None where none could fail to.
        user: Timings of the loop that the final model will be trained with.
        trials: Timings of the loop that the trials train with.
        seconds_to_start: What a batch size costs once: building, compiling, choosing a loop.
    """

    largest_batch_size: int | None
    user: Timings
    trials: Timings
    seconds_to_start: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; `from_json` reads them."""
        return {
            "largest_batch_size": self.largest_batch_size,
            "user": self.user.to_json(),
            "trials": self.trials.to_json(),
            "seconds_to_start": self.seconds_to_start,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> MachineFacts:
        """What `to_json` wrote."""
        user, trials = (Timings.from_json(values[name]) for name in ("user", "trials"))
        return cls(values["largest_batch_size"], user, trials, values["seconds_to_start"])


@dataclass(frozen=True)
class NoiseFacts:
    """How noisy the gradient was along the best reference training.

    Args:
        noise_scale: Mean over the training, in examples: the forecast of the critical batch size; None if unknown.
        at_least: Where it is unknown, what bounds it from below; None if nothing does.
        reason: Why it is unknown.
    """

    noise_scale: float | None = None
    at_least: float | None = None
    reason: str = ""

    @property
    def critical_batch_size(self) -> float:
        """The forecast of B_crit: the noise scale, else 256, or its lower bound where that is more."""
        return self.noise_scale or max(GUESSED_NOISE_SCALE, self.at_least or 0.0)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; `NoiseFacts(**values)` reads them."""
        return dataclasses.asdict(self)
