"""The forecast of the best batch size, and what it is made of: straight lines of memory and of seconds per update."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy

LARGEST_MEMORY_RESIDUAL = 0.03
LEAST_MEMORY_SIZES = 4


@dataclass(frozen=True)
class MemoryLine:
    """Peak bytes as a line in the batch size: `bytes(B) = a + b*B`.

    Args:
        intercept_bytes: a: weights, optimizer slots, workspace, runtime.
        bytes_per_example: b: activations; not positive if the memory did not grow with the batch size.
        largest_residual: The largest |fitted/measured - 1| of the sizes fitted.
        standard_deviation: s of the residuals in bytes, divisor m-2; 0 where two sizes leave none.
        sizes: The m batch sizes fitted, ascending.
    """

    intercept_bytes: float
    bytes_per_example: float
    largest_residual: float
    standard_deviation: float
    sizes: tuple[int, ...]

    @property
    def accepted(self) -> bool:
        """Whether the line describes the measurements: four sizes or more, none off by 3 % or more."""
        return len(self.sizes) >= LEAST_MEMORY_SIZES and self.largest_residual < LARGEST_MEMORY_RESIDUAL

    def bytes(self, batch_size: float) -> float:
        """Return the predicted peak."""
        return self.intercept_bytes + self.bytes_per_example * batch_size

    def prediction_margin(self, batch_size: float, level: float = 0.95) -> float:
        """Return the bytes by which one new measurement may exceed the line: t(m-2; level)*s*sqrt(1 + h).

            h = 1/m + (B - mean B)^2 / Sxx,   Sxx = sum (B_i - mean B)^2

        Source: Draper and Smith, Applied Regression Analysis (1998), for the interval of a new observation.
        """
        m = len(self.sizes)
        if m < 3:
            return 0.0
        sizes = np.array(self.sizes, dtype=float)
        leverage = 1 / m + (batch_size - sizes.mean()) ** 2 / np.sum((sizes - sizes.mean()) ** 2)
        quantile = float(scipy.stats.t.ppf(level, m - 2))
        return float(quantile * self.standard_deviation * math.sqrt(1 + leverage))


def fit_memory(peak_bytes: Mapping[int, float]) -> MemoryLine:
    """Return the line fitted by least squares to the largest half of the batch sizes, at least to four if there are.

    Small batches are left out first because their peak is often flat: the runtime's own buffers exceed the activations.

    Args:
        peak_bytes: Measured peak by batch size; at least two sizes, all positive.

    Raises:
        ValueError: If there are fewer than two sizes or a peak is not positive.
    """
    if len(peak_bytes) < 2:
        raise ValueError(f"A memory line needs two measured batch sizes or more; got {len(peak_bytes)}.")
    for size, peak in peak_bytes.items():
        if not 0 < peak < math.inf:
            raise ValueError(f"Peak bytes must be positive; got {peak} at batch size {size}.")
    kept = sorted(peak_bytes)[-max(LEAST_MEMORY_SIZES, math.ceil(len(peak_bytes) / 2)) :]
    sizes, measured = np.array(kept, dtype=float), np.array([peak_bytes[size] for size in kept], dtype=float)
    slope = float(np.sum((sizes - sizes.mean()) * (measured - measured.mean())) / np.sum((sizes - sizes.mean()) ** 2))
    intercept = float(measured.mean() - slope * sizes.mean())
    residuals = intercept + slope * sizes - measured
    spread = math.sqrt(float(residuals @ residuals) / (len(kept) - 2)) if len(kept) > 2 else 0.0
    return MemoryLine(intercept, slope, float(np.max(np.abs(residuals / measured))), spread, tuple(kept))


LARGEST_TIME_RESIDUAL = 0.10
LEAST_TIMED_SIZES = 4
KNEE_SHARE = 0.90


@dataclass(frozen=True)
class ThroughputLine:
    """Seconds per update as a line in the batch size: `t(B) = t0 + c*B`.

    Args:
        seconds_per_update: t0, what an update costs whatever its size (launching, Python, the optimizer).
        seconds_per_example: c, what each example adds; 1/c is the throughput no batch size exceeds.
        largest_residual: The largest |fitted/measured - 1|.
        sizes: The number of batch sizes fitted.
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
        return self.sizes >= LEAST_TIMED_SIZES and self.largest_residual <= LARGEST_TIME_RESIDUAL

    def seconds(self, batch_size: float) -> float:
        """Return t(B), the seconds of one update."""
        return self.seconds_per_update + self.seconds_per_example * batch_size

    def size_with_share(self, share: float = KNEE_SHARE) -> float:
        """Return B_p = p/(1-p)*t0/c, the batch size with share p of the limiting throughput; inf if there is no limit.

        Raises:
            ValueError: If the share is not between 0 and 1, both excluded.
        """
        if not 0 < share < 1:
            raise ValueError(f"share must lie between 0 and 1; got {share}.")
        if self.seconds_per_example == 0:
            return math.inf
        return share / (1 - share) * self.seconds_per_update / self.seconds_per_example


def fit_throughput(seconds_per_update: Mapping[int, float]) -> ThroughputLine:
    """Return the line fitted by non-negative least squares on relative errors (weights 1/t^2).

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
    coefficients, _ = scipy.optimize.nnls(scaled / norms, np.ones(len(sizes)))
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
