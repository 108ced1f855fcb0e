"""GridSearch and BayesianOptimization: `keras_tuner.Tuner`s whose first hyperparameter is the batch size."""

from __future__ import annotations

from typing import Any

import optuna

from search_spaces.space import SearchSpace
from tuning.base_tuner import BatchSizeTuner
from tuning.study.encoding import Encoding
from tuning.study.plans import BayesianPlan, GridPlan, Plan
from tuning.study.samplers import check_sampler, expected_gains, make_sampler


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
        sampler: What proposes: "gp", a Gaussian process that knows noise, cost and memory; "tpe", Optuna's default;
            "random"; or an `optuna.samplers.BaseSampler` made for this study.
        start_batch_size: One that "gp" tries early, such as a forecast; the nearest one of the space is taken.
        seed: Of the sampler; the further arguments are those of `BatchSizeTuner`.

    Raises:
        TypeError: If the sampler is of another type.
        ValueError: If there is no sampler of this name, or it takes no batch size to start with.
    """

    kind = "bayes"

    def __init__(
        self,
        hypermodel: Any,
        objective: Any = None,
        max_trials: int | None = 30,
        *,
        sampler: str | optuna.samplers.BaseSampler = "gp",
        start_batch_size: int | None = None,
        seed: int = 0,
        **rest: Any,
    ) -> None:
        check_sampler(sampler, start_batch_size)
        self.sampler, self.sampler_seed, self.start_batch_size = sampler, seed, start_batch_size
        super().__init__(hypermodel, objective, max_trials, **rest)

    def make_plan(self, space: SearchSpace) -> Plan:
        return BayesianPlan(
            space,
            max_trials=self._proposals,
            seeds=self.seeds,
            maximize=self.oracle.maximize,
            expected=expected_gains,
        )

    def make_sampler(self, space: SearchSpace) -> optuna.samplers.BaseSampler:
        return make_sampler(
            self.sampler,
            Encoding(space, search_rates=True),
            budget=self._proposals,
            maximize=self.oracle.maximize,
            seed=self.sampler_seed,
            largest_fitting=lambda: None if self.options.accumulate else self._largest_fitting,
            start_batch_size=self.start_batch_size,
        )

    @property
    def _proposals(self) -> int:
        return self.max_trials or 30
