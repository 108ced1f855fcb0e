"""DistinctSampler: makes any Optuna sampler repeat nothing and never go where memory has run out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

_TRIES = 30


class DistinctSampler(BaseSampler):
    """Asks an inner sampler until its proposal is acceptable.

    On an axis of 6 to 12 batch sizes, samplers made for continuous spaces mostly repeat themselves, and none knows
    that memory is monotone in the batch size.

    Args:
        space: The dimensions that every setting has, by Optuna's names.
        is_acceptable: Whether a proposal is new and can fit, given the study.
        inner: Proposes; after enough unacceptable proposals, chance does.
        seed: Of that chance.
    """

    def __init__(
        self,
        space: dict[str, BaseDistribution],
        is_acceptable: Callable[[Study, dict[str, Any]], bool],
        *,
        inner: BaseSampler,
        seed: int,
    ) -> None:
        self._space = space
        self._is_acceptable = is_acceptable
        self._inner = inner
        self._random = RandomSampler(seed=seed)

    def reseed_rng(self) -> None:
        self._inner.reseed_rng()
        self._random.reseed_rng()

    def infer_relative_search_space(
        self,
        study: Study,  # noqa: ARG002  (Optuna's signature)
        trial: FrozenTrial,  # noqa: ARG002  (likewise)
    ) -> dict[str, BaseDistribution]:
        return self._space

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        proposal: dict[str, Any] = {}
        for attempt in range(4 * _TRIES):
            sampler: BaseSampler = self._inner if attempt < _TRIES else self._random
            proposal = sampler.sample_relative(study, trial, search_space)
            for name in search_space.keys() - proposal.keys():
                proposal[name] = sampler.sample_independent(study, trial, name, search_space[name])
            if self._is_acceptable(study, proposal):
                break
        return proposal

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._inner.sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self._inner.before_trial(study, trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        self._inner.after_trial(study, trial, state, values)


def quiet_optuna() -> None:
    """Silence Optuna's line per trial; progress is shown otherwise."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
