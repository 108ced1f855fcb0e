"""Samplers for pruned_bayes.py, by what they take stopped trainings to say; `bayes` itself takes the first."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import norm

from tuning.plans.experience import Experience
from tuning.plans.gp_sampler import GaussianProcessSampler
from tuning.proposals.evidence import Observations
from tuning.proposals.gaussian_process import GaussianProcess, fit, group_distances
from tuning.proposals.stopped import line
from tuning.proposals.warping import warp


@dataclass(frozen=True)
class Warped(Observations):
    """Observations that are warped already.

    Args:
        doubts: (n,) the variance of each value beyond the noise.
    """

    doubts: Any = None

    def _warped(self) -> tuple[Any, Any]:
        deviation = float(self.values.std()) or 1.0
        return (self.values - self.values.mean()) / deviation, self.doubts / deviation**2


class LastScore(GaussianProcessSampler):
    """A stopped training counts as if it had ended with the score that it had at its rung."""

    def observations(self, known: Experience) -> Observations:
        last = np.full(len(known.values), np.nan)
        for scores in known.rungs.T:
            last = np.where(np.isnan(scores), last, scores)
        return Observations(known.points, np.where(known.stopped, last, known.values))


class WarpingSampler(GaussianProcessSampler):
    """A sampler that warps final scores before it says what became of the stopped ones."""

    def observations(self, known: Experience) -> Observations:
        if not known.stopped.any() or np.isfinite(known.values).sum() < 3:
            return super().observations(known)
        values, doubts = np.zeros(len(known.values)), np.zeros(len(known.values))
        ended = ~known.stopped
        values[ended] = warp(np.nan_to_num(known.values[ended], nan=np.nanmin(known.values)))
        self.fill_in(known, values, doubts)
        return Warped(known.points, values, None, doubts)

    @abc.abstractmethod
    def fill_in(self, known: Experience, values: Any, doubts: Any) -> None:
        """Put warped values and their variances in the place of the stopped ones."""

    def process(self, points: Any, values: Any) -> GaussianProcess:
        """A Gaussian process over settings, fitted."""
        distinct, pooled = Warped(points, values, None, np.zeros(len(values))).pooled()
        features, groups = self._coordinates.space.features(distinct), self._coordinates.space.groups
        logs = fit(group_distances(features, groups), pooled)
        return GaussianProcess(features, pooled, logs=logs, groups=groups)


class Censored(WarpingSampler):
    """A stopped training is only known to be worse than the best of its batch size that completed.

    In its place comes what a process of the completed ones expects there of values below that, with the variance of
    these: the moments of a truncated normal distribution.
    """

    def fill_in(self, known: Experience, values: Any, doubts: Any) -> None:
        ended = ~known.stopped
        process = self.process(known.points[ended], values[ended])
        means, variances = process.posterior(self._coordinates.space.features(known.points[known.stopped]))
        deviations = np.sqrt(variances + process.noise_variance)
        sizes = np.array([setting.batch_size for setting in known.settings])
        completed = np.isfinite(known.values)
        for index, mean, deviation in zip(np.flatnonzero(known.stopped), means, deviations, strict=True):
            same = completed & (sizes == sizes[index])
            limit = (values[same if same.any() else completed].max() - mean) / deviation
            ratio = float(np.exp(norm.logpdf(limit) - norm.logcdf(limit)))
            values[index] = mean - deviation * ratio
            doubts[index] = deviation**2 * max(0.0, 1 - limit * ratio - ratio**2)


class Line(WarpingSampler):
    """As `bayes`, but the line from rung to end is all: it is the same for every setting."""

    def fill_in(self, known: Experience, values: Any, doubts: Any) -> None:
        last = np.where(np.isnan(known.rungs), -1, np.arange(known.rungs.shape[1])).max(axis=1)
        for rung, scores in enumerate(known.rungs.T):
            asked, there = known.stopped & (last == rung), np.isfinite(scores)
            told = there & ~known.stopped
            standing = np.zeros(len(scores))
            standing[there] = warp(scores[there])
            standing -= standing[told].mean()
            design = np.column_stack([np.ones(len(scores)), standing])
            weights, variance = line(design[told], values[told] - standing[told])
            values[asked] = standing[asked] + design[asked] @ weights
            doubts[asked] = variance
