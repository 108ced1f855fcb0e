"""Which sampler proposes, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from search_spaces.space import Setting
from tuning.search.options import SAMPLERS
from tuning.study.encoding import Encoding
from tuning.study.gp_sampler import GaussianProcessSampler
from tuning.study.plans import is_out_of_memory
from tuning.study.records import read_record

_TPE_STARTUP = 6


def check_sampler(sampler: str | BaseSampler, start_batch_size: int | None = None) -> None:
    """Make sure that `make_sampler` knows a sampler, and that it can start where it is asked to.

    Raises:
        TypeError: If it is neither a name nor an Optuna sampler.
        ValueError: If there is none of this name, or it takes no batch size to start with, or that is none.
    """
    if not isinstance(sampler, str | BaseSampler):
        raise TypeError(f"sampler must be a name or an optuna.samplers.BaseSampler; got {sampler!r}.")
    if isinstance(sampler, str) and sampler not in SAMPLERS:
        raise ValueError(f"sampler must be one of {', '.join(SAMPLERS)}, or an Optuna sampler; got {sampler!r}.")
    if start_batch_size is None:
        return
    if start_batch_size < 1:
        raise ValueError(f"start_batch_size must be at least 1; got {start_batch_size}.")
    if sampler != "gp":
        raise ValueError(f"start_batch_size is for the sampler 'gp'; got {sampler!r}. Leave one of the two out.")


def make_sampler(
    sampler: str | BaseSampler,
    encoding: Encoding,
    *,
    budget: int,
    maximize: bool,
    seed: int,
    largest_fitting: Callable[[], int | None],
    start_batch_size: int | None = None,
) -> BaseSampler:
    """The sampler of a study.

    Args:
        sampler: "gp", "tpe", "random", or an Optuna sampler of the caller's, for this study alone.
        encoding: Of the space that is searched.
        budget: How many trials it will propose.
        maximize: Whether a larger objective is better.
        seed: Of its random numbers.
        largest_fitting: Tells the largest batch size that a probe found to fit; None where nobody measured.
        start_batch_size: One to try early; of "gp" alone.
    """
    if sampler == "gp":
        return GaussianProcessSampler(
            encoding,
            budget=budget,
            maximize=maximize,
            seed=seed,
            largest_fitting=largest_fitting,
            start_batch_size=start_batch_size,
        )
    if isinstance(sampler, BaseSampler):
        inner = sampler
    else:
        inner = TPESampler(seed=seed, n_startup_trials=_TPE_STARTUP) if sampler == "tpe" else RandomSampler(seed)
    return DistinctSampler(
        encoding.unconditional(),
        lambda study, params: is_new_and_fits(encoding, study, params, largest_fitting()),
        inner=inner,
        seed=seed,
    )


def expected_gains(study: optuna.Study) -> dict[Setting, float] | None:
    """What a study's sampler expects of the settings tried, larger being better; None if it has no such view."""
    return study.sampler.expected(study) if isinstance(study.sampler, GaussianProcessSampler) else None


def is_new_and_fits(encoding: Encoding, study: optuna.Study, params: Mapping[str, Any], limit: int | None) -> bool:
    """Whether no trial of the study had this setting, and memory is not known to run out there.

    Args:
        encoding: Of the study's space.
        study: The study.
        params: Optuna's values of the setting.
        limit: The largest batch size that fits; None where nobody measured.
    """
    records = [record for trial in study.get_trials(deepcopy=False) if (record := read_record(trial)) is not None]
    setting = encoding.decode(params)
    if is_out_of_memory(setting, records) or (limit is not None and setting.batch_size > limit):
        return False
    return encoding.has_conditions or all(record.setting != setting for record in records)


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
