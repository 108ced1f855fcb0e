"""Which sampler proposes, and how any Optuna sampler is asked: repeating nothing, never where memory has run out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from search_spaces.space import Setting
from tuning.objective import Objective
from tuning.plans import SAMPLERS
from tuning.plans.experience import TRIAL
from tuning.plans.gp_sampler import GaussianProcessSampler
from tuning.study.encoding import Encoding
from tuning.trial import Status, Trial

_TPE_STARTUP = 6
_TRIES = 30


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
    is_acceptable: Callable[[Setting], bool],
    *,
    budget: int,
    objective: Objective,
    seed: int,
    largest_fitting: int | None = None,
    start_batch_size: int | None = None,
) -> BaseSampler:
    """Return the sampler of a study.

    Args:
        sampler: "gp", "tpe", "random", or an Optuna sampler of the caller's, for this study alone.
        encoding: The encoding of the space that is searched.
        is_acceptable: Tells whether a setting is new and can fit; "gp" knows by itself.
        budget: How many trials it will propose.
        objective: The metric that decides.
        seed: The seed of its random numbers.
        largest_fitting: The largest batch size that a probe found to fit; None where nobody measured.
        start_batch_size: One to try early; for "gp" alone.
    """
    if sampler == "gp":
        return GaussianProcessSampler(
            encoding,
            budget=budget,
            objective=objective,
            seed=seed,
            largest_fitting=largest_fitting,
            start_batch_size=start_batch_size,
        )
    if isinstance(sampler, BaseSampler):
        inner = sampler
    else:
        inner = TPESampler(seed=seed, n_startup_trials=_TPE_STARTUP) if sampler == "tpe" else RandomSampler(seed)
    return DistinctSampler(
        encoding.unconditional(), lambda params: is_acceptable(encoding.decode(params)), inner=inner, seed=seed
    )


class Proposals:
    """Has a sampler propose settings, on an Optuna study in memory that follows the records of the real one.

    So a plan proposes from records alone, whatever storage these are kept in, and any Optuna sampler can do it.

    Args:
        sampler: The sampler, made for this search alone.
        encoding: How Optuna is told of settings.
        objective: The metric that decides.
    """

    def __init__(self, sampler: BaseSampler, encoding: Encoding, objective: Objective) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)  # progress is shown otherwise
        better = StudyDirection.MAXIMIZE if objective.sign > 0 else StudyDirection.MINIMIZE
        self._study = optuna.create_study(sampler=sampler, direction=better)
        self._encoding, self._objective = encoding, objective
        self._proposed: list[tuple[Setting, optuna.Trial]] = []
        self._running: dict[str, optuna.Trial] = {}

    def propose(self) -> Setting:
        """Return a setting to try; it counts as running until its trial is told."""
        asked = self._study.ask()
        params = {name: _suggest(asked, name, found) for name, found in self._encoding.unconditional().items()}
        while further := self._encoding.conditional(params):
            params |= {name: _suggest(asked, name, found) for name, found in further.items()}
        setting = self._encoding.decode(params)
        self._proposed.append((setting, asked))
        return setting

    def follow(self, trial: Trial) -> None:
        """Take in that a trial runs, or how it ended."""
        if trial.trial_id not in self._running:
            self._running[trial.trial_id] = self._adopt(trial)
        running = self._running[trial.trial_id]
        running.set_user_attr(TRIAL, trial)
        if trial.status is not None:
            self._end(running, trial)

    def expected(self) -> dict[Setting, float]:
        """Return what the sampler expects of the settings tried, larger being better; empty if it has no such view."""
        sampler = self._study.sampler
        return sampler.expected(self._study) if isinstance(sampler, GaussianProcessSampler) else {}

    def _adopt(self, trial: Trial) -> optuna.Trial:
        """Return the proposal that a trial carries out; one that an earlier driver made is made up for."""
        for index, (setting, asked) in enumerate(self._proposed):
            if setting == trial.setting:
                del self._proposed[index]
                return asked
        params, distributions = self._encoding.encode(trial.setting)
        self._study.enqueue_trial(params)
        asked = self._study.ask()
        for name, distribution in distributions.items():
            _suggest(asked, name, distribution)
        return asked

    def _end(self, running: optuna.Trial, trial: Trial) -> None:
        state, values = TrialState.FAIL, None
        if trial.scored and trial.score is not None:
            state, values = TrialState.COMPLETE, [trial.score]
        elif trial.status in (Status.PRUNED, Status.OUT_OF_MEMORY):
            state = TrialState.PRUNED
            for examples, value in zip(*trial.curve(self._objective.name), strict=True):
                running.report(value, step=examples)
        self._study.tell(running, values, state)


class DistinctSampler(BaseSampler):
    """Asks an inner sampler until its proposal is acceptable.

    On an axis of 6 to 12 batch sizes, samplers made for continuous spaces mostly repeat themselves, and none knows
    that memory is monotone in the batch size.

    Args:
        space: The dimensions that every setting has, by Optuna's names.
        is_acceptable: Tells whether a proposal is new and can fit.
        inner: Proposes; after enough unacceptable proposals, chance does.
        seed: The seed of that chance.
    """

    def __init__(
        self,
        space: dict[str, BaseDistribution],
        is_acceptable: Callable[[dict[str, Any]], bool],
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
            if self._is_acceptable(proposal):
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


def _suggest(trial: optuna.Trial, name: str, distribution: BaseDistribution) -> object:
    """Ask a running Optuna trial for a value from a distribution."""
    if isinstance(distribution, CategoricalDistribution):
        return trial.suggest_categorical(name, distribution.choices)
    if isinstance(distribution, FloatDistribution):
        return trial.suggest_float(
            name, distribution.low, distribution.high, step=distribution.step, log=distribution.log
        )
    assert isinstance(distribution, IntDistribution)
    return trial.suggest_int(name, distribution.low, distribution.high, step=distribution.step, log=distribution.log)
