"""Proposer: fits what has been seen and finds the point that is worth a trial most."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfcx, ndtr
from scipy.stats import qmc
from threadpoolctl import ThreadpoolController

from tuning.proposals.axes import Array, Mask, Space
from tuning.proposals.evidence import Observations
from tuning.proposals.gaussian_process import GaussianProcess, Pooled, fit, group_distances

_RANDOM, _MOVED = 600, 300
_CLIMBERS, _MOVES, _ROUNDS = 5, 20, 5
_OWN = 0.2  # share of the variance between single values that belongs to the point itself
_FITTED = 150  # points whose likelihood is maximised; with more, a fit would take most of a proposal's time


@dataclass(frozen=True)
class Wish:
    """What a proposal has to respect beside the values seen.

    Args:
        fits: Which of (n, axes) points may be tried at all, as (n,) booleans.
        log_cost: (n,) logarithms of what (n, axes) points cost.
        thrift: How much cost weighs, from 0 to 1: improvement is divided by `cost**thrift`.
    """

    fits: Callable[[Array], Mask]
    log_cost: Callable[[Array], Array]
    thrift: float


class Proposer:
    """Proposes points of a space, one at a time.

    Args:
        space: What may be proposed.
        seed: The seed of the candidates that are looked at.
    """

    def __init__(self, space: Space, seed: int) -> None:
        self._space = space
        self._random = np.random.default_rng(seed)
        self._last_fit: Array | None = None
        self._fitted: tuple[Array, Array, GaussianProcess] | None = None
        self._threads = ThreadpoolController()  # small matrices on threads that trainings use too take 5 times as long

    def propose(self, seen: Observations, pending: Array, wish: Wish) -> Array:
        """(axes,) the point with the largest expected improvement for its cost.

        Args:
            seen: Trials that have ended; at least one value is not NaN.
            pending: (m, axes) points being tried, taken to turn out as expected.
            wish: What else counts.
        """
        with self._threads.limit(limits=1):
            return self._propose(seen, pending, wish)

    def _propose(self, seen: Observations, pending: Array, wish: Wish) -> Array:
        points, pooled = seen.pooled()
        process = self._process(points, pooled)
        means, _ = process.posterior(self._space.features(points))
        believing = process.believing(self._space.features(pending))
        incumbent = float(means.max())

        def score(candidates: Array) -> Array:
            found, variances = believing.posterior(self._space.features(candidates))
            gain = log_expected_improvement(found, variances, incumbent, process.noise_variance)
            worth = gain - wish.thrift * wish.log_cost(candidates)
            return np.where(wish.fits(candidates), worth, -np.inf)

        leaders = points[np.argsort(-means)[:_CLIMBERS]]
        return self._climb(self._candidates(points, leaders), score)

    def expect(self, seen: Observations) -> Array:
        """(n,) what is expected of the points seen, on a scale of its own.

        A point that was lucky once is expected to be worse than it was, and one among good ones better. But a smooth
        curve does not tell everything of each point: from the curve's value m and the mean y of the values seen there,
        it is `m + own_share * (y - m)`.
        """
        with self._threads.limit(limits=1):
            points, pooled = seen.pooled()
            means, _ = self._process(points, pooled).posterior(self._space.features(points))
        expected = means + own_share(pooled.repeats) * (pooled.means - means)
        return np.asarray(expected[seen.distinct()[1]])

    def _process(self, points: Array, pooled: Pooled) -> GaussianProcess:
        """Fitted anew where something was seen since the last time."""
        if self._fitted is None or not (
            np.array_equal(self._fitted[0], points, equal_nan=True) and np.array_equal(self._fitted[1], pooled.means)
        ):
            self._fitted = points, pooled.means, self._fit(points, pooled)
        return self._fitted[2]

    def _fit(self, points: Array, pooled: Pooled) -> GaussianProcess:
        features = self._space.features(points)
        chosen = self._chosen(pooled)
        starts = () if self._last_fit is None else (self._last_fit,)
        logs = fit(group_distances(features[chosen], self._space.groups), pooled.chosen(chosen), starts)
        self._last_fit = logs
        return GaussianProcess(features, pooled, logs=logs, groups=self._space.groups)

    def _chosen(self, pooled: Pooled) -> NDArray[np.intp]:
        count = len(pooled.means)
        if count <= _FITTED:
            return np.arange(count)
        order = np.argsort(-pooled.means)
        best, rest = order[: _FITTED // 3], order[_FITTED // 3 :]
        return np.concatenate([best, self._random.choice(rest, _FITTED - len(best), replace=False)])

    def _candidates(self, points: Array, leaders: Array) -> Array:
        near = self._space.moved(leaders[self._random.integers(len(leaders), size=_MOVED)], self._random)
        return np.vstack([self._space.random(_RANDOM, self._random), near, points])

    def _climb(self, candidates: Array, score: Callable[[Array], Array]) -> Array:
        scores = score(candidates)
        best = np.argsort(-scores)[:_CLIMBERS]
        leaders, heights = candidates[best], scores[best]
        for _ in range(_ROUNDS):
            moved = self._space.moved(np.repeat(leaders, _MOVES, axis=0), self._random)
            reached = score(moved).reshape(len(leaders), _MOVES)
            step = reached.argmax(axis=1)
            rows = np.arange(len(leaders))
            higher = reached[rows, step] > heights
            leaders = np.where(higher[:, None], moved.reshape(len(leaders), _MOVES, -1)[rows, step], leaders)
            heights = np.where(higher, reached[rows, step], heights)
        return np.asarray(leaders[heights.argmax()])


def own_share(repeats: Array) -> Array:
    """(n,) how much of its distance from the curve is a point's own, and will be seen again, after (n,) values of it.

        w = o / (o + (1 - o) / r)

    with r the values and o the share of a single value's variance about the curve that all values of the point have in
    common; the rest is noise between seeds. Too few points are repeated in a search to estimate o from them.

    Source: Cressie 1993, Statistics for Spatial Data, section 2.3.1: a nugget is part error of measurement, part
    variation on a scale smaller than the distances seen.
    """
    return np.asarray(_OWN / (_OWN + (1.0 - _OWN) / repeats))


_FAR = -1e3


def log_expected_improvement(means: Array, variances: Array, incumbent: float, noise_variance: float) -> Array:
    """(n,) logarithms of the augmented expected improvement.

        EI = s * (phi(z) + z * Phi(z)),  z = (mean - incumbent) / s
        augmented: EI * (1 - sigma / (s**2 + sigma**2)**0.5)

    The second factor is what one noisy value is worth, so that a point may be tried again, but is not where nothing
    more can be learnt of it.

    Args:
        means: (n,) posterior means; larger is better.
        variances: (n,) their variances s**2, without noise.
        incumbent: The best posterior mean of the points tried.
        noise_variance: sigma**2, of a single value.

    Source: Huang, Allen, Notz and Zeng 2006, J. Global Optimization 34; Ament et al. 2023, arXiv 2310.20708, for the
    logarithm.
    """
    deviations = np.sqrt(variances)
    improvement = np.log(deviations) + log_improvement_of_standard((means - incumbent) / deviations)
    total = np.sqrt(variances + noise_variance)
    worth = variances / (total * (total + math.sqrt(noise_variance)))  # 1 - sigma / total, without cancellation
    return np.asarray(improvement + np.log(worth))


def log_improvement_of_standard(z: Array) -> Array:
    """(n,) `log(phi(z) + z * Phi(z))`, exact to about 1e-6 for any z, where the plain formula would give log 0."""
    near = np.maximum(z, -1.0)
    plain = np.log(np.exp(-0.5 * near**2) / math.sqrt(2 * math.pi) + near * ndtr(near))
    below = np.clip(z, _FAR, -1.0)
    ratio = 1.0 + below * math.sqrt(math.pi / 2) * erfcx(-below / math.sqrt(2))
    tail = np.where(z < _FAR, -2.0 * np.log(np.maximum(-z, 1.0)), np.log(ratio))
    return np.where(z > -1.0, plain, -0.5 * z**2 - 0.5 * math.log(2 * math.pi) + tail)


_LEAST = 3  # the middle, the largest and the smallest batch size


class StartDesign:
    """The middle of everything, then a Latin hypercube over the largest, the smallest and the middle batch size.

    A batch size that something else speaks for, such as a forecast, comes second, all else in the middle.

    Args:
        space: What may be tried.
        batch_axis: Which axis is the batch size.
        budget: How many trials there will be; the middle and the hypercube take a third of them at most, and one more
            than there are axes, but three at least.
        seed: The seed of the hypercube.
        favourite: Level of a batch size to try early; None for none.
    """

    def __init__(self, space: Space, batch_axis: int, *, budget: int, seed: int, favourite: int | None = None) -> None:
        self._batch_axis = batch_axis
        count = max(_LEAST, min(len(space.axes) + 1, budget // 3))
        hypercube = qmc.LatinHypercube(len(space.axes), rng=np.random.default_rng(seed)).random(count - 1)
        shares = np.vstack([np.full(len(space.axes), 0.5), hypercube])
        shares[1:, batch_axis] = np.resize([np.nextafter(1.0, 0.0), 0.0, 0.5], count - 1)
        points = space.spread(shares)
        if favourite is not None and points[0, batch_axis] != favourite:
            points = np.insert(points, 1, points[0], axis=0)
            points[1, batch_axis] = favourite
        self._points = points

    def __len__(self) -> int:
        return len(self._points)

    def point(self, index: int, fits: Callable[[Array], Mask]) -> Array | None:
        """(axes,) the point of this rank, with the largest batch size up to its own that fits; None if none does."""
        point = self._points[index]
        sizes = np.arange(point[self._batch_axis], -1.0, -1.0)
        points = np.tile(point, (len(sizes), 1))
        points[:, self._batch_axis] = sizes
        allowed = np.flatnonzero(fits(points))
        return points[allowed[0]] if len(allowed) else None
