"""What the measured means say once they are pooled: each is pulled towards its neighbours as far as the data ask."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tuning.stats.comparison import Comparison

Array = npt.NDArray[np.float64]

LENGTHS = (1.0, 2.0)  # in ln B: about one and a half and three doublings
SMOOTH = (0.0, 0.3, 0.6, 1.2, 2.5, 5.0, 10.0)  # amplitudes, in units of the noise of one run
OWN = (0.0, 0.5, 1.0, 2.0, 10.0, 100.0)  # the largest are for differences beyond all doubt
NULL_WEIGHT = 0.15  # prior chance that nothing but the trend distinguishes the batch sizes
_DRAWS = 4000


@dataclass(frozen=True)
class Expectation:
    """The curves that the true means are expected to follow roughly, one of them, each as likely as the others.

    Args:
        curves: (m, k) float64, expected mean of each batch size, up to a common level.
        slope_error: How far a straight line in ln B may be added, per unit of ln B and in units of the noise of one
            run.
        weight: The prior chance of this expectation beside others, up to a factor.
    """

    curves: Array
    slope_error: float = 0.0
    weight: float = 1.0


@dataclass(frozen=True)
class Noise:
    """What is known of the noise of one run before it is measured: as good as `degrees_of_freedom` repeats.

    Source: Gelman et al., Bayesian Data Analysis (2013), section 3.3, the scaled inverse chi-square prior.
    """

    sigma: float = 0.0
    degrees_of_freedom: float = 0.0


@dataclass(frozen=True)
class Pooled:
    """The posterior of the true means.

    Args:
        batch_sizes: The k batch sizes, ascending.
        means: The posterior mean of each.
        draws: (draws, k) float64, equally likely values of all the true means together (up to a common shift).
    """

    batch_sizes: tuple[int, ...]
    means: tuple[float, ...]
    draws: Array

    def mean(self, batch_size: int) -> float:
        """Return the posterior mean of a batch size."""
        return self.means[self.batch_sizes.index(batch_size)]

    def shifted(self, offsets: Mapping[int, float]) -> Pooled:
        """Return the posterior with a known number added to each batch size."""
        added = np.array([offsets[size] for size in self.batch_sizes])
        means = tuple(mean + offsets[size] for mean, size in zip(self.means, self.batch_sizes, strict=True))
        return Pooled(self.batch_sizes, means, self.draws + added)

    def chance_of_loss(self, batch_size: int, margin: float) -> float:
        """Return P(the best true mean exceeds that of the batch size by more than the margin)."""
        loss = self.draws.max(axis=1) - self.draws[:, self.batch_sizes.index(batch_size)]
        return float(np.mean(loss > margin))

    def expected_loss(self, batch_size: int) -> float:
        """Return the mean of the best true mean less that of the batch size.

        Source: Chick and Inoue, New Two-Stage and Sequential Procedures for Selecting the Best Simulated System (2001),
            who call it the expected opportunity cost.
        """
        return float(np.mean(self.draws.max(axis=1) - self.draws[:, self.batch_sizes.index(batch_size)]))


def pool(comparison: Comparison, expectations: Sequence[Expectation] = (), noise: Noise | None = None) -> Pooled | None:
    """Return the posterior of the true means, or None if nothing is known of the noise.

        mean[b] = level + curve[b] + slope*ln B + f(ln B) + g[b] + error[b],   error ~ N(0, sigma^2 C)

    The curve is one of those expected, f is smooth (a Gaussian process with a Matern 3/2 kernel), g[b] is the batch
    size's own deviation, and C is the comparison's covariance. The curves, the amplitudes of f and g relative to sigma,
    and the length over which f varies are averaged over a small grid by their marginal likelihood; level and sigma^2
    are integrated out exactly (flat and scaled inverse chi-square). Hence a mean that its neighbours contradict is
    believed less the noisier the runs, and a tie shrinks to a tie, while clear differences stay as measured. Without
    repeats a batch size's own deviation cannot be told from noise; g is then left out.

    Args:
        comparison: Measured means, their noise and covariance.
        expectations: What curve to expect; a flat one by default.
        noise: Prior knowledge of sigma; needed where nothing was repeated.

    Source: Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), sections 2.7 and 5.4; shrinkage of
        several means: Efron and Morris, Data analysis using Stein's estimator (1975).
    """
    noise = noise or Noise()
    measured = comparison.degrees_of_freedom if comparison.sigma is not None else 0
    degrees = noise.degrees_of_freedom + measured
    squares = noise.degrees_of_freedom * noise.sigma**2 + measured * (comparison.sigma or 0.0) ** 2
    if degrees <= 0 or squares <= 0 or len(comparison.batch_sizes) < 2:
        return None
    x = np.log(np.array(comparison.batch_sizes, dtype=float))
    covariance = comparison.noise_covariance()
    fits = [
        fit
        for expectation in expectations or (Expectation(np.zeros((1, len(x)))),)
        for shape, weight in _shapes(x, expectation, repeated=measured > 0)
        for fit in _condition(
            np.array(comparison.means), expectation.curves, shape, covariance, _Scale(squares, degrees, weight)
        )
    ]
    weights = np.exp(np.array([fit.evidence for fit in fits]) - max(fit.evidence for fit in fits))
    weights /= weights.sum()
    means = weights @ np.array([fit.mean for fit in fits])
    return Pooled(comparison.batch_sizes, tuple(float(mean) for mean in means), _draw(fits, weights))


@dataclass(frozen=True)
class _Scale:
    """The sum of squares and the degrees of freedom known of sigma^2, and the weight of a shape."""

    squares: float
    degrees: float
    weight: float


@dataclass(frozen=True)
class _Fit:
    evidence: float
    mean: Array  # (k,)
    root: Array  # (k, k), a square root of the posterior covariance over sigma^2
    squares: float
    degrees: float


def _shapes(x: Array, expectation: Expectation, *, repeated: bool) -> list[tuple[Array, float]]:
    """Return prior (k, k) covariances of the true means around a curve, over sigma^2, each with its prior weight.

    Source: Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), section 4.2, for the Matern kernel.
    """
    centred = x - x.mean()
    line = expectation.slope_error**2 * np.outer(centred, centred)
    grid = list(itertools.product(LENGTHS, SMOOTH, OWN if repeated else (0.0,)))
    some = [amplitudes for amplitudes in grid if any(amplitudes[1:])]
    each = expectation.weight / len(expectation.curves)
    shapes = [(line, each * NULL_WEIGHT)]
    for length, smooth, own in some:
        distance = math.sqrt(3) * np.abs(x[:, None] - x[None, :]) / length
        kernel = smooth**2 * (1 + distance) * np.exp(-distance)
        shapes.append((line + kernel + own**2 * np.eye(len(x)), each * (1 - NULL_WEIGHT) / len(some)))
    return shapes


def _condition(y: Array, curves: Array, shape: Array, covariance: Array, scale: _Scale) -> list[_Fit]:
    """Return posteriors of the means for one prior covariance around each curve, level and sigma^2 integrated out.

    Source: Rasmussen and Williams (2006), section 2.7, for the flat level.
    """
    k = len(y)
    total = shape + covariance
    inverse = np.linalg.inv(total)
    column = inverse.sum(axis=1)
    pull = shape @ inverse
    rest = 1 - pull.sum(axis=1)
    posterior = shape - pull @ shape + np.outer(rest, rest) / column.sum()
    values, vectors = np.linalg.eigh((posterior + posterior.T) / 2)
    root = vectors * np.sqrt(np.maximum(values, 0))
    common = math.log(scale.weight) - 0.5 * float(np.linalg.slogdet(total)[1]) - 0.5 * math.log(column.sum())
    degrees = scale.degrees + k - 1
    fits = []
    for curve in curves:
        level = float(column @ (y - curve) / column.sum())
        residual = y - curve - level
        squares = scale.squares + float(residual @ inverse @ residual)
        evidence = common - 0.5 * degrees * math.log(squares)
        fits.append(_Fit(evidence, curve + level + pull @ residual, root, squares, degrees))
    return fits


def _draw(fits: Sequence[_Fit], weights: Array) -> Array:
    """Return draws from the mixture of t distributions, each fit by its weight; the same for the same input."""
    random = np.random.default_rng(0)
    counts = random.multinomial(_DRAWS, weights)
    parts = []
    for fit, count in zip(fits, counts, strict=True):
        if count:
            sigma = np.sqrt(fit.squares / random.chisquare(fit.degrees, count))
            normal = random.standard_normal((count, len(fit.mean)))
            parts.append(fit.mean + sigma[:, None] * (normal @ fit.root.T))
    return np.concatenate(parts)
