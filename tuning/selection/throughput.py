"""Seconds per update against the batch size: the line t0 + c*B, and the knee where a larger batch stops paying."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import optimize

LARGEST_RESIDUAL = 0.10
LEAST_SIZES = 4
KNEE_SHARE = 0.90


@dataclass(frozen=True)
class ThroughputLine:
    """Seconds per update as a line in the batch size: `t(B) = t0 + c*B`.

    Args:
        seconds_per_update: t0, what an update costs whatever its size (launching, Python, the optimizer).
        seconds_per_example: c, what each example adds; 1/c is the throughput no batch size exceeds.
        largest_residual: Largest |fitted/measured - 1|.
        sizes: Batch sizes fitted.
    """

    seconds_per_update: float
    seconds_per_example: float
    largest_residual: float
    sizes: int

    @property
    def accepted(self) -> bool:
        """Whether the line describes the measurements: four sizes or more, none off by more than 10 %.

        If not, only the measured table should be used; a device with several regimes often has no such line.
        """
        return self.sizes >= LEAST_SIZES and self.largest_residual <= LARGEST_RESIDUAL

    def seconds(self, batch_size: float) -> float:
        """t(B) of one update."""
        return self.seconds_per_update + self.seconds_per_example * batch_size

    def size_with_share(self, share: float = KNEE_SHARE) -> float:
        """B_p = p/(1-p)*t0/c, the batch size with the share p of the limiting throughput; inf if that is unlimited.

        Raises:
            ValueError: If the share is not between 0 and 1, both excluded.
        """
        if not 0 < share < 1:
            raise ValueError(f"share must lie between 0 and 1; got {share}.")
        if self.seconds_per_example == 0:
            return math.inf
        return share / (1 - share) * self.seconds_per_update / self.seconds_per_example


def fit_throughput(seconds_per_update: Mapping[int, float]) -> ThroughputLine:
    """Fit the line by non-negative least squares on relative errors (weights 1/t^2).

    Args:
        seconds_per_update: Measured seconds of one update by batch size; at least two sizes, all positive.

    Raises:
        ValueError: If there are fewer than two sizes or a time is not positive.

    Source: the form: Qiao et al., Pollux (2021), section 3; Lawson and Hanson, Solving Least Squares Problems (1974),
        for the non-negative fit.
    """
    _check(seconds_per_update, least=2)
    sizes = np.array(sorted(seconds_per_update), dtype=float)
    measured = np.array([seconds_per_update[int(size)] for size in sizes])
    scaled = np.column_stack([1 / measured, sizes / measured])
    norms = np.linalg.norm(scaled, axis=0)  # the two columns differ by orders of magnitude
    coefficients, _ = optimize.nnls(scaled / norms, np.ones(len(sizes)))
    t0, c = (float(value) for value in coefficients / norms)
    residual = float(np.max(np.abs((t0 + c * sizes) / measured - 1)))
    return ThroughputLine(t0, c, residual, len(sizes))


def knee(seconds_per_update: Mapping[int, float], share: float = KNEE_SHARE) -> int:
    """Return the smallest measured batch size with at least `share` of the best measured throughput B/t.

    Raises:
        ValueError: If nothing was measured or a time is not positive.
    """
    _check(seconds_per_update, least=1)
    rates = {size: size / seconds for size, seconds in seconds_per_update.items()}
    return min(size for size, rate in rates.items() if rate >= share * max(rates.values()))


def _check(seconds_per_update: Mapping[int, float], *, least: int) -> None:
    if len(seconds_per_update) < least:
        raise ValueError(f"Throughput needs {least} measured batch sizes or more; got {len(seconds_per_update)}.")
    for size, seconds in seconds_per_update.items():
        if not 0 < seconds < math.inf:
            raise ValueError(f"Seconds per update must be positive; got {seconds} at batch size {size}.")
