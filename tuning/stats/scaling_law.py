"""Updates to a target against the batch size: the law S(B) = S_min*(1 + B_crit/B), and whether the data identify it."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy

from tuning.stats.forecast import ThroughputLine

Array = npt.NDArray[np.float64]

LEVEL = 0.90
LEAST_SIZES = 4
LEAST_SPAN = 64
LARGEST_RMS = 0.20
EXPONENTS = (0.7, 1.4)
_GRID = np.exp(
    np.concatenate([np.linspace(math.log(EXPONENTS[0]), 0, 71), np.linspace(0, math.log(EXPONENTS[1]), 71)[1:]])
)
_NEAR = 3.0  # how far in log B_crit from the law's own estimate that of another exponent is looked for
_REACH = 12.0  # how far in log B_crit an end of the interval is looked for


@dataclass(frozen=True)
class ScalingLaw:
    """The fitted law: at B_crit a training needs twice the fewest updates and twice the fewest examples.

        S(B) = S_min*(1 + B_crit/B) updates;   E(B) = B*S(B) = E_min + S_min*B examples;   E_min = S_min*B_crit

    Args:
        smallest_updates: S_min, the updates that no batch size goes below.
        critical_batch_size: B_crit.
        interval: The 90 % profile-likelihood interval of B_crit, the exponent free; None at an end that is open.
        rms_residual: The root mean square of the residuals of log S (divisor m) around this law, whose exponent is 1.
        free_exponent: a of the freer form `S_min*(1 + (B_crit/B)^a)`; 1 if the law holds.
        sizes: Batch sizes fitted, ascending.
        doubts: Why B_crit is not identified, in words; empty if it is.

    Source: McCandlish et al., An Empirical Model of Large-Batch Training (2018), section 2.3; Shallue et al., Measuring
        the Effects of Data Parallelism on Neural Network Training (2019), for where it was seen to hold.
    """

    smallest_updates: float
    critical_batch_size: float
    interval: tuple[float | None, float | None]
    rms_residual: float
    free_exponent: float
    sizes: tuple[int, ...]
    doubts: tuple[str, ...]

    @property
    def identified(self) -> bool:
        """Whether the value of B_crit may be quoted; otherwise only the finite ends of its interval.

        Residuals are judged around the freer form, as the interval is: judged around the law's own, of trainings with
        another exponent just those would pass whose noise hides it, and their intervals cover too little.
        """
        return not self.doubts

    @property
    def describes_updates(self) -> bool:
        """Whether the law, whose exponent is 1, comes near enough to the updates measured to forecast times by it."""
        return self.identified and self.rms_residual <= LARGEST_RMS

    @property
    def smallest_examples(self) -> float:
        """E_min, the examples that no batch size goes below."""
        return self.smallest_updates * self.critical_batch_size

    def updates(self, batch_size: float) -> float:
        """Return S(B), the updates to the target."""
        return self.smallest_updates * (1 + self.critical_batch_size / batch_size)

    def examples(self, batch_size: float) -> float:
        """Return E(B), the examples to the target."""
        return self.smallest_examples + self.smallest_updates * batch_size


def fit_scaling_law(
    updates: Mapping[int, float | Sequence[float]], *, at_edge: Collection[int] = (), level: float = LEVEL
) -> ScalingLaw:
    """Return the law fitted to updates to the target, one point per batch size: the lack of fit is per batch size.

        y_i = mean over seeds of log S_i;   f_i(lam) = log(1 + exp(lam)/B_i);   lam = log B_crit
        log S_min(lam) = mean_i(y_i - f_i(lam));   RSS(lam) = sum_i (y_i - log S_min(lam) - f_i(lam))^2
        interval = {lam: min_a RSS(lam, a) <= min RSS*(1 + F(level; 1, m-3)/(m-3))}

    The interval is that of the B at which `S = S_min*(1 + (B_crit/B)^a)` is twice S_min, a anywhere from 0.7 to 1.4:
    with a held at 1 it would miss the truth nearly always where a is .85 or 1.15, which the residuals let pass. It is
    extended to the law's own estimate where that lies outside.

    Args:
        updates: Updates to the target by batch size, one number or one per seed; all must have reached it, each at its
            tuned learning rate. At least two batch sizes.
        at_edge: Batch sizes whose learning rate lay at an edge of those tried; left out of the fit, and a doubt.
        level: The confidence level of the interval, between 0 and 1.

    Raises:
        ValueError: If fewer than two batch sizes remain or a number is not positive.

    Source: McCandlish et al., An Empirical Model of Large-Batch Training (2018), for the law; Zhang et al. (2024) for
        the fit in logarithms; profile likelihood: Bates and Watts, Nonlinear Regression Analysis (1988), chapter 6.
    """
    kept = sorted(size for size in updates if size not in at_edge)
    if len(kept) < 2:
        raise ValueError(f"A scaling law needs two batch sizes or more with tuned learning rates; got {len(kept)}.")
    sizes = np.array(kept, dtype=float)
    y = np.array([_mean_log(updates[size]) for size in kept])
    lam = _minimum(y, sizes)
    rss = _residual_squares(lam, y, sizes)
    best, least = _least_profile(lam, y, sizes)
    interval = _interval(lam, y, sizes, level, around=(best, least))
    critical = math.exp(lam)
    exponent = _free_exponent(lam, y, sizes)
    return ScalingLaw(
        smallest_updates=math.exp(_log_smallest(lam, y, sizes)),
        critical_batch_size=critical,
        interval=interval,
        rms_residual=math.sqrt(rss / len(kept)),
        free_exponent=exponent,
        sizes=tuple(kept),
        doubts=_doubts(
            critical, interval, math.sqrt(least / len(kept)), exponent, kept, sorted(set(updates) & set(at_edge))
        ),
    )


def _mean_log(value: float | Sequence[float]) -> float:
    values = np.atleast_1d(np.asarray(value, dtype=float))
    if values.size == 0 or not np.all((values > 0) & np.isfinite(values)):
        raise ValueError(f"Updates to the target must be positive numbers; got {value!r:.80}.")
    return float(np.mean(np.log(values)))


def _log_smallest(lam: float, y: Array, sizes: Array, exponent: float = 1.0) -> float:
    return float(np.mean(y - np.log1p(np.exp(exponent * (lam - np.log(sizes))))))


def _residual_squares(lam: float, y: Array, sizes: Array, exponent: float = 1.0) -> float:
    residuals = y - np.log1p(np.exp(exponent * (lam - np.log(sizes))))
    return float(np.sum((residuals - residuals.mean()) ** 2))


def _minimum(y: Array, sizes: Array) -> float:
    """Return lam with the least RSS: the best of a grid, refined; an end of it if the data leave that side open."""
    grid = np.linspace(math.log(sizes[0] / 64), math.log(64 * sizes[-1]), 400)
    i = int(np.argmin([_residual_squares(lam, y, sizes) for lam in grid]))
    bounds = grid[max(0, i - 1)], grid[min(len(grid) - 1, i + 1)]
    found = scipy.optimize.minimize_scalar(
        _residual_squares, args=(y, sizes), bounds=bounds, method="bounded", options={"xatol": 1e-10}
    )
    return float(found.x)


def _least_profile(lam: float, y: Array, sizes: Array) -> tuple[float, float]:
    """Return log B_crit where the profile over the exponents is least, and how much it is there."""
    starts = np.linspace(lam - _NEAR, lam + _NEAR, 41)
    i = int(np.argmin([_profile(each, y, sizes) for each in starts]))
    found = scipy.optimize.minimize_scalar(
        _profile,
        args=(y, sizes),
        bounds=(starts[max(0, i - 1)], starts[min(len(starts) - 1, i + 1)]),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return float(found.x), float(found.fun)


def _interval(
    lam: float, y: Array, sizes: Array, level: float, *, around: tuple[float, float]
) -> tuple[float | None, float | None]:
    """Return the profile-likelihood interval of the size at which updates are twice the fewest, the exponent free.

    It goes around the least of all and is extended to the law's own estimate, exp(lam).
    """
    m, (best, least) = len(sizes), around
    if m < LEAST_SIZES:
        return None, None
    limit = least * (1 + float(scipy.stats.f.ppf(level, 1, m - 3)) / (m - 3))
    low, high = (_end(best, end, limit, y, sizes) for end in (best - _REACH, best + _REACH))
    own = math.exp(lam)
    return None if low is None else min(low, own), None if high is None else max(high, own)


def _profile(lam: float, y: Array, sizes: Array) -> float:
    """Return the least RSS over the exponents that are taken for the law's own."""
    residuals = y - np.log1p(np.exp(_GRID[:, None] * (lam - np.log(sizes))))
    return float(np.min(np.sum((residuals - residuals.mean(axis=1, keepdims=True)) ** 2, axis=1)))


def _end(best: float, end: float, limit: float, y: Array, sizes: Array) -> float | None:
    """Return B_crit where the profile crosses the limit between its least and the end; None if it does not."""

    def above(x: float) -> float:
        return _profile(x, y, sizes) - limit

    if above(end) <= 0:
        return None
    if above(best) >= 0:
        return math.exp(best)
    return math.exp(float(scipy.optimize.brentq(above, best, end, xtol=1e-6)))


def _free_exponent(lam: float, y: Array, sizes: Array) -> float:
    """Return a of S_min*(1 + (B_crit/B)^a) by least squares; nan with fewer than four batch sizes."""
    if len(sizes) < LEAST_SIZES:
        return math.nan

    def residuals(x: Array) -> Array:
        shifted = y - np.log1p(np.exp(np.clip(np.exp(x[1]) * (x[0] - np.log(sizes)), -700, 700)))
        return np.asarray(shifted - shifted.mean())

    starts = [(lam, math.log(a)) for a in (0.5, 1.0, 2.0)]
    fits = [scipy.optimize.least_squares(residuals, start, xtol=1e-12, ftol=1e-12) for start in starts]
    return math.exp(min(fits, key=lambda fit: fit.cost).x[1])


def _doubts(
    critical: float,
    interval: tuple[float | None, float | None],
    rms: float,
    exponent: float,
    sizes: list[int],
    at_edge: list[int],
) -> tuple[str, ...]:
    low, high = sizes[0], sizes[-1]
    open_ends = " and ".join(name for name, end in zip(("lower", "upper"), interval, strict=True) if end is None)
    tests = (
        (len(sizes) < LEAST_SIZES, f"{len(sizes)} batch sizes reached the target; {LEAST_SIZES} are needed"),
        (high < LEAST_SPAN * low, f"the batch sizes span a factor {high / low:.3g}; {LEAST_SPAN} are needed"),
        (low >= critical / 2, f"the smallest, {low}, is not below half of B_crit = {critical:.3g}"),
        (high <= 2 * critical, f"the largest, {high}, is not above twice B_crit = {critical:.3g}"),
        (bool(open_ends) and len(sizes) >= LEAST_SIZES, f"the interval has no {open_ends} end"),
        (rms > LARGEST_RMS, f"the residuals are {rms:.2f} in log updates; {LARGEST_RMS:.2f} is the most"),
        (
            not EXPONENTS[0] <= exponent <= EXPONENTS[1] and len(sizes) >= LEAST_SIZES,
            f"the free exponent is {exponent:.2f}, not between {EXPONENTS[0]} and {EXPONENTS[1]}",
        ),
        (bool(at_edge), f"the best learning rate was at an edge for {', '.join(map(str, at_edge))}"),
    )
    return tuple(words for failed, words in tests if failed)


FLATNESS = 0.05


@dataclass(frozen=True)
class TimeOptimum:
    """Where the fitted time to the target is least. It explains and plans; the pick is made on measured times.

    Args:
        batch_size: B* = sqrt(B_crit*t0/c), clipped to the sizes allowed.
        clipped: "smallest" or "largest" if it was clipped to that end, else empty.
        seconds: The time T at that size.
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
        smallest: The least size allowed.
        largest: The greatest size allowed: what fits in memory, or the largest tested.
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
    """Return the ends of {B: T(B) <= limit}: the roots of S_min*c*B^2 - (limit - S_min*t0 - E_min*c)*B + E_min*t0."""
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
