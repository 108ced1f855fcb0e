"""Which sampler proposes, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import optuna
from optuna.samplers import BaseSampler, RandomSampler, TPESampler

from search_spaces.space import Setting
from tuning.options import SAMPLERS
from tuning.studies.encoding import Encoding
from tuning.studies.gp_sampler import GaussianProcessSampler
from tuning.studies.plans import is_out_of_memory
from tuning.studies.records import read_record
from tuning.studies.sampler import DistinctSampler

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
