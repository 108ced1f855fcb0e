"""One model of the measurements: what runs say of the true means, with the errors of seeds, clocks and rates in it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import scipy

from tuning.stats.runs import Information, Runs, unit_scale
from tuning.stats.shapes import Shapes, shapes_of

Array = npt.NDArray[np.float64]

TRENDS = {-1.2: 0.25, 0.0: 0.5, 1.2: 0.25}
"""How much ln of the noise rises from the smallest to the largest batch size, with prior chances: sd 0.85."""
_SIGMAS = 7
_TAIL = 0.01
_DRAWS = 4000
REFUSED = 0.0027  # two-sided, three standard deviations
_LEAST_CHECKED = 4  # batch sizes; fewer do not say what to expect of another


@dataclass(frozen=True)
class Expectation:
    """The curves that the true means are expected to follow roughly, one of them, each as likely as the others.

    Args:
        curves: (m, k) float64, expected mean of each batch size, up to a common level.
        slope_error: How far a straight line in ln B may be added, per unit of ln B and in units of the noise of one
            run.
        weight: The prior chance of this expectation beside others, up to a factor.
        own: How far each batch size deviates by itself, whatever the shape, in units of the noise of one run.
    """

    curves: Array
    slope_error: float = 0.0
    weight: float = 1.0
    own: float = 0.0


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
        means: The posterior mean of each, up to a common shift.
        draws: (draws, k) float64, equally likely values of all the true means together, up to a common shift.
        outlier: The batch size that the others contradict so plainly that the model was refused, and the runs alone
            answer; None if they answer together.
        isolated: (draws,) bool, those in which one batch size alone is better than what is expected of all; None if the
            runs answer alone.
    """

    batch_sizes: tuple[int, ...]
    means: tuple[float, ...]
    draws: Array = field(repr=False)
    outlier: int | None = None
    isolated: npt.NDArray[np.bool_] | None = field(default=None, repr=False)

    def mean(self, batch_size: int) -> float:
        """Return the posterior mean of a batch size."""
        return self.means[self.batch_sizes.index(batch_size)]

    def chance_of_loss(self, batch_size: int, margin: float) -> float:
        """Return P(the best true mean exceeds that of the batch size by more than the margin)."""
        return float(np.mean(self._losses(batch_size) > margin))

    def if_isolated(self, batch_size: int, margin: float) -> tuple[float, float]:
        """Return the chance that one batch size alone stands out, and if it does, that of a loss; zeros if unlikely.

        A chance of a loss is a mean over the shapes that the truth may have. It is right on average over studies, not
        over those of one shape: what stands out alone looks like luck, so that losses are likelier than stated there.
        """
        if self.isolated is None or not self.isolated.any():
            return 0.0, 0.0
        losses = self._losses(batch_size)[self.isolated]
        return float(np.mean(self.isolated)), float(np.mean(losses > margin))

    def expected_loss(self, batch_size: int) -> float:
        """Return the mean of the best true mean less that of the batch size.

        Source: Chick and Inoue, New Two-Stage and Sequential Procedures for Selecting the Best Simulated System (2001),
            who call it the expected opportunity cost.
        """
        return float(np.mean(self._losses(batch_size)))

    def chance_of_best(self, batch_size: int) -> float:
        """Return P(no true mean exceeds that of the batch size)."""
        return float(np.mean(self._losses(batch_size) <= 0))

    def _losses(self, batch_size: int) -> Array:
        return np.asarray(self.draws.max(axis=1) - self.draws[:, self.batch_sizes.index(batch_size)])


def pool(
    runs: Runs,
    expectations: Sequence[Expectation] = (),
    noise: Noise | None = None,
    variances: Mapping[int, float] | None = None,
) -> Pooled | None:
    """Return the posterior of the true means z, or None if nothing is known of the noise.

        y[b,s] = z[b] + d[b] + u[s] + e[b,s],   Var e = sigma^2*exp(2*h*x),   Var d = variances[b]
        z = level + curve + f

    u is the common effect of a seed; h lets the noise rise or fall with x = ln B, centred and scaled to a span of 1; d
    is the error that all runs of a batch size share, of its clock and of its learning rate. The curve is one of those
    expected, f one of the shapes of `shapes_of`. Level and seeds are integrated out exactly; sigma, h, the curve and
    the shape are averaged over a grid by their marginal likelihood. Hence a mean that its neighbours contradict is
    believed less the noisier the runs, and a tie shrinks to a tie, while clear differences stay as measured.

    **The check.** Where runs were repeated, each batch size is predicted from all others. If the mean of any lies
    outside what three standard deviations would be of that prediction, the model is refused, and the posterior of the
    runs alone is returned: each batch size by itself, one sigma for all.

    Args:
        runs: What was measured.
        expectations: What curve to expect; a flat one by default.
        noise: Prior knowledge of sigma; needed where nothing was repeated.
        variances: Var d by batch size; 0 by default.

    Source: Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), sections 2.7, 5.4 and, for what is
        left out, 5.4.2; shrinkage of several means: Efron and Morris, Data analysis using Stein's estimator (1975).
    """
    sigmas = _sigmas(runs, noise or Noise())
    if sigmas is None or len(runs.batch_sizes) < 2:
        return None
    errors = np.diag([(variances or {}).get(size, 0.0) for size in runs.batch_sizes])
    model = _Model(runs, noise or Noise(), sigmas, errors)
    groups = model.groups(expectations or (Expectation(np.zeros((1, len(runs.batch_sizes)))),))
    outlier = _outlier(groups, runs.batch_sizes) if model.repeated else None
    if outlier is not None:
        return _alone(runs, noise or Noise(), errors, outlier)
    return _mixture(groups, runs, model.shapes.isolated)


def _sigmas(runs: Runs, noise: Noise) -> Array | None:
    """Return sigma from where it is hardly ever below to where it is hardly ever above, in equal ratios."""
    information = runs.information(0.0)
    squares = information.rest + noise.degrees_of_freedom * noise.sigma**2
    degrees_in_all = information.residual_degrees + noise.degrees_of_freedom
    scale = float(np.abs(runs.values).max())
    if degrees_in_all <= 0 or squares <= (1e-12 * scale) ** 2 * degrees_in_all:
        return None
    low, high = (
        math.sqrt(squares / float(scipy.special.chdtri(degrees_in_all, tail))) for tail in (_TAIL, 1 - 2 * _TAIL)
    )
    return np.asarray(np.geomspace(low / 1.3, high * 1.2, _SIGMAS))


@dataclass(frozen=True)
class _Group:
    """Posteriors for every shape, at one sigma, one trend of the noise and one curve.

    Args:
        evidence: (c,) float64, ln of the marginal likelihood times the prior chance, up to a constant.
        means: (c, k) float64, up to a common shift.
        covariances: (c, k, k) float64, prior covariances of z over sigma^2.
        remaining: (c, k, k) float64, the precision of the measured means around the prior, over 1/sigma^2.
        residuals: (c, k) float64, that precision times the distance of the measured means from the prior.
        sigma: The noise of a typical run.
    """

    evidence: Array
    means: Array
    covariances: Array
    remaining: Array
    residuals: Array
    sigma: float

    def left_out(self) -> tuple[Array, Array]:
        """Return ln of the density of each measured mean given the others, and how far it lies from what they predict.

        Both (c, k); the distance is in standard deviations.
        """
        precision = np.maximum(np.diagonal(self.remaining, axis1=1, axis2=2), 1e-300) / self.sigma**2
        distance = self.residuals / self.sigma**2 / np.sqrt(precision)
        return 0.5 * np.log(precision) - 0.5 * distance**2, distance


@dataclass(frozen=True)
class _Model:
    runs: Runs
    noise: Noise
    sigmas: Array
    errors: Array

    @cached_property
    def repeated(self) -> bool:
        """Whether any batch size was measured more than once."""
        return self.runs.information(0.0).residual_degrees > 0

    @cached_property
    def shapes(self) -> Shapes:
        """What the true means may look like."""
        return shapes_of(self.runs.logs, repeated=self.repeated)

    def groups(self, expectations: Sequence[Expectation]) -> list[_Group]:
        """Return the posteriors for everything that is averaged over."""
        logs = self.runs.logs
        repeated, shapes = self.repeated, self.shapes
        centred = unit_scale(logs) * (logs[-1] - logs[0])
        groups = []
        for trend, chance in TRENDS.items() if repeated else ((0.0, 1.0),):
            information = self.runs.information(trend)
            for expected in expectations:
                more = expected.slope_error**2 * np.outer(centred, centred) + expected.own**2 * np.eye(len(logs))
                widened = dataclasses.replace(shapes, covariances=shapes.covariances + more)
                weight = math.log(chance * expected.weight / len(expected.curves))
                groups += self._around(information, expected.curves, widened, weight)
        return groups

    def _around(self, information: Information, curves: Array, shapes: Shapes, weight: float) -> list[_Group]:
        groups = []
        solved: tuple[Array, Array] | None = None
        for sigma in self.sigmas:
            if solved is None or self.errors.any():  # without errors of their own all is in proportion to sigma
                spread = shapes.covariances + self.errors / sigma**2
                square = np.eye(len(self.errors)) + information.precision @ spread
                solved = np.linalg.inv(square) @ information.precision, np.linalg.slogdet(square)[1]
            groups += [self._given(information, curve, shapes, (sigma, weight, *solved)) for curve in curves]
        return groups

    def _given(
        self,
        information: Information,
        curve: Array,
        shapes: Shapes,
        at: tuple[float, float, Array, Array],
    ) -> _Group:
        """Return the posterior of z by Gaussian conditioning on what the runs say, level and seeds integrated out.

            remaining = (I + P(S + D/sigma^2))^-1 P,   residuals = remaining (fitted - curve)
            mean = curve + S residuals,   covariance = sigma^2 (S - S remaining S)

        with P the precision of the runs, S the prior covariance and D that of the shared errors.

        Source: Rasmussen and Williams (2006), equations 2.25 and 2.26, by Woodbury's identity.
        """
        sigma, weight, remaining, volume = at
        expected = curve + sigma * shapes.curves
        distances = information.fitted - expected
        residuals = (remaining @ distances[:, :, None])[:, :, 0]
        known = self.noise.degrees_of_freedom
        squares = information.rest + known * self.noise.sigma**2 + np.sum(distances * residuals, axis=1)
        evidence = np.log(shapes.chances) + weight + information.volume - 0.5 * volume
        evidence -= (information.degrees + known) * math.log(sigma) + squares / (2 * sigma**2)
        means = expected + (shapes.covariances @ residuals[:, :, None])[:, :, 0]
        return _Group(evidence, means, shapes.covariances, remaining, residuals, sigma)


def _outlier(groups: Sequence[_Group], batch_sizes: tuple[int, ...]) -> int | None:
    """Return the batch size that the others contradict most if they do so beyond three standard deviations, else None.

    Leaving a batch size out divides the evidence for each part of the mixture by the density which that part gave it.
    """
    if len(batch_sizes) < _LEAST_CHECKED:
        return None
    evidence = np.concatenate([group.evidence for group in groups])
    densities, distances = (np.concatenate(parts) for parts in zip(*(g.left_out() for g in groups), strict=True))
    without = evidence[:, None] - densities
    weights = np.exp(without - without.max(axis=0))
    weights /= weights.sum(axis=0)
    below = np.sum(weights * scipy.special.ndtr(distances), axis=0)
    chance = 2 * np.minimum(below, 1 - below)
    return batch_sizes[int(chance.argmin())] if chance.min() < REFUSED else None


def _mixture(groups: Sequence[_Group], runs: Runs, isolated: int) -> Pooled:
    """Return the mixture of the posteriors, with draws that are the same for the same input.

    In the last `isolated` shapes of each group one batch size alone is better than all others.
    """
    evidence = np.concatenate([group.evidence for group in groups])
    weights = np.exp(evidence - evidence.max())
    weights /= weights.sum()
    means = np.concatenate([group.means for group in groups])
    random = np.random.default_rng(0)
    counts = random.multinomial(_DRAWS, weights)
    drawn: list[int] = np.nonzero(counts)[0].tolist()
    width = len(groups[0].evidence)
    parts = [(groups[i // width], i % width) for i in drawn]
    priors, remaining = (np.array([getattr(g, name)[i] for g, i in parts]) for name in ("covariances", "remaining"))
    variances = np.array([group.sigma**2 for group, _ in parts])
    covariances = variances[:, None, None] * (priors - priors @ remaining @ priors)
    which = np.repeat(np.arange(len(drawn)), counts[drawn])
    normal = random.standard_normal((_DRAWS, means.shape[1]))
    draws = means[drawn][which] + (_roots(covariances)[which] @ normal[:, :, None])[:, :, 0]
    alone = np.array([i % width >= width - isolated for i in drawn])[which]
    return Pooled(runs.batch_sizes, tuple(float(mean) for mean in weights @ means), draws, isolated=alone)


def _roots(covariances: Array) -> Array:
    values, vectors = np.linalg.eigh((covariances + covariances.swapaxes(-1, -2)) / 2)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0))[..., None, :])


def _alone(runs: Runs, noise: Noise, errors: Array, outlier: int) -> Pooled:
    """Return the posterior of the runs alone: means by least squares with t errors, and what a batch size's runs share.

    Source: Gelman et al., Bayesian Data Analysis (2013), section 14.2, regression with a flat prior.
    """
    information = runs.information(0.0)
    degrees = information.residual_degrees + noise.degrees_of_freedom
    means, covariance = information.fitted, np.asarray(np.linalg.pinv(information.precision), dtype=np.float64)
    random = np.random.default_rng(0)
    squares = information.rest + noise.degrees_of_freedom * noise.sigma**2
    sigma = np.sqrt(squares / random.chisquare(degrees, _DRAWS))
    normal, shared = random.standard_normal((2, _DRAWS, len(means)))
    draws = means + sigma[:, None] * (normal @ _roots(covariance).T) + shared * np.sqrt(np.diag(errors))
    return Pooled(runs.batch_sizes, tuple(float(mean) for mean in means), draws, outlier)
