"""GaussianProcessSampler: an Optuna sampler that knows what a batch size is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from search_spaces.space import Setting
from tuning.objective import Objective
from tuning.plans.experience import Coordinates, Experience, ExperienceReader
from tuning.proposals.axes import Array, Mask
from tuning.proposals.evidence import MemoryEvidence, Observations, fit_cost
from tuning.proposals.proposer import Proposer, StartDesign, Wish
from tuning.proposals.stopped import Courses
from tuning.study.encoding import Encoding

_CANDIDATES = 200
_FREE = 1 / 30  # of the seconds spent; 1/8, 1/15, 1/20 and quantiles of the trials took more seconds on HPOBench
_THRIFT = 1.0  # there 0 and 0.5 take more seconds to the same regret, as does falling from 1 to 0


class GaussianProcessSampler(BaseSampler):
    """Proposes the setting with the largest expected improvement for its cost, and none for which memory runs out.

    A Gaussian process over the logarithms of batch size and learning rate and the model's own hyperparameters is
    fitted to what was tried. Trials of one setting with several seeds are taken together, so that the noise between
    seeds is known; trials that run count as if they ended as expected; trainings that diverged or failed count like
    the worst, and stopped ones as those that went on say that they would have ended. The first trials are the middle of
    the space and a Latin hypercube over the smallest, middle and largest batch size that fit. Trials are read as
    `records` writes them.

    Args:
        encoding: The encoding of the space that is searched.
        budget: How many trials are to be proposed; the start design takes a part of them.
        objective: The metric that decides.
        seed: The seed of the design and of the candidates.
        largest_fitting: The largest batch size that a probe found to fit; None where nobody measured.
        start_batch_size: One to try early, such as a forecast; the nearest one of the space is. None for none.

    Source: Snoek, Larochelle and Adams 2012, arXiv 1206.2944, for improvement per second; Lee et al. 2020, arXiv
    2003.10870, for letting cost count less as the budget is spent: here what counts as dear grows with what was spent.
    """

    def __init__(
        self,
        encoding: Encoding,
        *,
        budget: int,
        objective: Objective,
        seed: int,
        largest_fitting: int | None = None,
        start_batch_size: int | None = None,
    ) -> None:
        self._encoding = encoding
        self._coordinates = Coordinates(encoding)
        self._reader = ExperienceReader(self._coordinates, objective=objective)
        self._proposer = Proposer(self._coordinates.space, seed)
        self._design = StartDesign(
            self._coordinates.space,
            self._coordinates.batch_axis,
            budget=budget,
            seed=seed,
            favourite=None if start_batch_size is None else self._coordinates.nearest_size(start_batch_size),
        )
        self._chance = np.random.default_rng(seed)
        self._largest_fitting = largest_fitting
        self._random = RandomSampler(seed=seed)
        self._proposed: dict[int, dict[str, Any]] = {}

    def infer_relative_search_space(
        self,
        study: Study,  # noqa: ARG002  (Optuna's signature)
        trial: FrozenTrial,  # noqa: ARG002  (likewise)
    ) -> dict[str, BaseDistribution]:
        return self._encoding.unconditional()

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        params = self._coordinates.params(self._propose(self._reader.read(study)))
        self._proposed.clear()
        self._proposed[trial.number] = params
        return {name: params[name] for name in search_space}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The proposal's value of a conditional hyperparameter."""
        proposed = self._proposed.get(trial.number, {})
        if param_name in proposed:
            return proposed[param_name]
        return self._random.sample_independent(study, trial, param_name, param_distribution)

    def expected(self, study: Study) -> dict[Setting, float]:
        """What each setting with a value is expected to score, on a scale of its own, larger being better.

        The luck of single trials is taken out of it as far as neighbours and repeats tell.
        """
        known = self._reader.read(study)
        if not np.isfinite(known.values).any():
            return {}
        means = self._proposer.expect(self.observations(known))
        return dict(zip(known.settings, means.tolist(), strict=True))

    def observations(self, known: Experience) -> Observations:
        """What trials that have ended are taken to say, those that were stopped included."""
        space = self._coordinates.space
        courses = Courses(known.rungs, known.stopped, space.features(known.points), space.groups)
        return Observations(known.points, known.values, courses)

    def _propose(self, known: Experience) -> Array:
        evidence = self._evidence(known)

        def fits(points: Array) -> Mask:
            sizes = self._coordinates.batch_sizes(points)
            limit = self._largest_fitting
            within = np.ones(len(sizes), dtype=bool) if limit is None else sizes <= limit
            return within & evidence.allows(sizes, self._coordinates.features_of_model(points))

        if (first := self._first(known, fits)) is not None:
            return first
        wish = Wish(fits, self._log_cost(known), _THRIFT)
        return self._proposer.propose(self.observations(known), known.pending, wish)

    def _first(self, known: Experience, fits: Callable[[Array], Mask]) -> Array | None:
        """The next point of the start design, or chance where there is no value yet; None if there is enough to fit."""
        if known.count < len(self._design):
            point = self._design.point(known.count, fits)
            if point is not None and not known.holds(point):
                return point
        if np.isfinite(known.values).any():
            return None
        candidates = self._coordinates.space.random(_CANDIDATES, self._chance)
        new = [point for point in candidates[fits(candidates)] if not known.holds(point)]
        return np.asarray(new[0] if new else candidates[0])

    def _evidence(self, known: Experience) -> MemoryEvidence:
        sizes, models = self._coordinates.batch_sizes, self._coordinates.features_of_model
        return MemoryEvidence(sizes(known.failed), models(known.failed), sizes(known.worked), models(known.worked))

    def _log_cost(self, known: Experience) -> Callable[[Array], Array]:
        """Of points; nothing is gained by being cheaper than a small part of the seconds spent so far.

        Without that floor a search spends its trials on what costs next to nothing and teaches as little. With it a
        search begins with cheap trials and may afford dearer ones the longer it lasts, without being told a budget.
        """
        model = fit_cost(
            self._coordinates.batch_sizes(known.timed), self._coordinates.features_of_cost(known.timed), known.seconds
        )
        if model is None:
            return lambda points: np.zeros(len(points))
        floor = float(np.log(_FREE * known.seconds.sum()))

        def log_cost(points: Array) -> Array:
            sizes, features = self._coordinates.batch_sizes(points), self._coordinates.features_of_cost(points)
            return np.asarray(np.maximum(model.log_seconds(sizes, features), floor))

        return log_cost
