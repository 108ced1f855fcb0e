"""GridSearch and BayesianOptimization: `keras_tuner.Tuner`s whose first hyperparameter is the batch size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import optuna

from search_spaces.space import SearchSpace
from tuning.base_tuner import BatchSizeTuner
from tuning.studies.encoding import Encoding
from tuning.studies.plans import BayesianPlan, GridPlan, Plan, is_out_of_memory
from tuning.studies.records import read_record
from tuning.studies.sampler import DistinctSampler


class GridSearch(BatchSizeTuner):
    """Train every batch size with every seed, and recommend one.

    >>> tuner = GridSearch(build_model, batch_size=BatchSize(8, 512), objective="val_accuracy")  # doctest: +SKIP
    >>> tuner.search(x, y, validation_data=(x_val, y_val), epochs=5)  # doctest: +SKIP
    >>> tuner.recommend().batch_size  # doctest: +SKIP
    """

    kind = "grid"

    def make_plan(self, space: SearchSpace) -> Plan:
        return GridPlan(space, self.seeds, max_trials=self.max_trials)

    def make_sampler(self, space: SearchSpace) -> None:  # noqa: ARG002  (a grid is a queue)
        return None


class BayesianOptimization(BatchSizeTuner):
    """Propose batch sizes, learning rates and hyperparameters from what has been seen; confirm the leaders.

    Args:
        seed: Of the sampler; the further arguments are those of `BatchSizeTuner`.
    """

    kind = "bayes"

    def __init__(
        self, hypermodel: Any, objective: Any = None, max_trials: int | None = 30, *, seed: int = 0, **rest: Any
    ) -> None:
        self.sampler_seed = seed
        super().__init__(hypermodel, objective, max_trials, **rest)

    def make_plan(self, space: SearchSpace) -> Plan:
        proposals = self.max_trials or 30
        return BayesianPlan(space, max_trials=proposals, seeds=self.seeds, maximize=self.oracle.maximize)

    def make_sampler(self, space: SearchSpace) -> optuna.samplers.BaseSampler:
        encoding = Encoding(space, search_rates=True)
        return DistinctSampler(
            encoding.unconditional(),
            lambda study, params: is_new_and_fits(encoding, study, params),
            seed=self.sampler_seed,
        )


def is_new_and_fits(encoding: Encoding, study: optuna.Study, params: Mapping[str, Any]) -> bool:
    """Whether no trial of the study had this setting, and memory is not known to run out there."""
    records = [record for trial in study.get_trials(deepcopy=False) if (record := read_record(trial)) is not None]
    setting = encoding.decode(params)
    if is_out_of_memory(setting, records):
        return False
    return encoding.has_conditions or all(record.setting != setting for record in records)
