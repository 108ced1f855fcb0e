"""GridSearch, BayesianOptimization and StagedSearch: `keras_tuner.Tuner`s that search batch sizes."""

from __future__ import annotations

from typing import Any

import optuna

from tuning.search.method import Method
from tuning.search.methods import PROPOSALS, bayes_method, grid_method, tune_method
from tuning.stats.rules import TOLERANCE_LOSS
from tuning.tuner import BatchSizeTuner


class GridSearch(BatchSizeTuner):
    """Train every batch size with every seed, and recommend one.

    Args:
        seed: The first of the seeds that every batch size is trained with. All other arguments are those of
            `BatchSizeTuner`; but `seeds="auto"` trains every setting with two seeds, and those batch sizes with up to
            five that may be the best, as long as that is expected to make the pick better.

    Examples:
        >>> tuner = GridSearch(build_model, batch_size=BatchSize(8, 512), objective="val_accuracy")  # doctest: +SKIP
        >>> tuner.search(x, y, validation_data=(x_val, y_val), epochs=5)  # doctest: +SKIP
        >>> tuner.recommend().batch_size  # doctest: +SKIP
    """

    def __init__(
        self, hypermodel: Any, objective: Any = None, max_trials: int | None = None, *, seed: int = 0, **rest: Any
    ) -> None:
        self.seed = seed
        super().__init__(hypermodel, objective, max_trials, **rest)

    def method(self) -> Method:
        return grid_method(self._wishes, self.options, first_seed=self.seed, max_trials=self.max_trials)


class BayesianOptimization(BatchSizeTuner):
    """Propose batch sizes, learning rates and hyperparameters from what has been seen; confirm the leaders.

    Args:
        sampler: What proposes: "gp", a Gaussian process that knows noise, cost and memory; "tpe", Optuna's default;
            "random"; or an `optuna.samplers.BaseSampler` made for this study.
        start_batch_size: One that "gp" tries early, such as a forecast; the nearest one of the space is taken.
        seed: The seed of the sampler; the further arguments are those of `BatchSizeTuner`.

    Raises:
        TypeError: If the sampler is of another type.
        ValueError: If there is no sampler of this name, or it takes no batch size to start with.
    """

    def __init__(
        self,
        hypermodel: Any,
        objective: Any = None,
        max_trials: int | None = PROPOSALS,
        *,
        sampler: str | optuna.samplers.BaseSampler = "gp",
        start_batch_size: int | None = None,
        seed: int = 0,
        **rest: Any,
    ) -> None:
        self.sampler, self.sampler_seed, self.start_batch_size = sampler, seed, start_batch_size
        super().__init__(hypermodel, objective, max_trials, **rest)

    def method(self) -> Method:
        return bayes_method(
            self._wishes,
            self.options,
            max_trials=self.max_trials,
            sampler=self.sampler,
            start_batch_size=self.start_batch_size,
            seed=self.sampler_seed,
        )


class StagedSearch(BatchSizeTuner):
    """Find the batch size that reaches a target soonest, in stages: each decides what the next one tries.

    The machine is timed; learning rates are tuned at a reference batch size, which sets the target; the gradient's
    noise scale there forecasts where to look; batch sizes on both sides of the forecast each seek their own learning
    rate; and each is confirmed on fresh seeds, a close race on more of them. See `StagedPlan`.
    Hyperparameters of the model's own are held at their defaults.

    `batch_size` names the sizes to choose from: a list is tried whole, None means powers of two up to 4096 that leave
    at least 8 updates in an epoch. Every batch size gets a fresh seed, those that may be the best two, and up
    to two more than `seeds`.

    Args:
        first_seed: The seed of the search; the fresh seeds are those after it.
        tolerance_loss: The share of its time that the recommended batch size may be expected to lose to the best; no
            further seeds are trained for less. All other arguments are those of `BatchSizeTuner`.

    Raises:
        TypeError: If an option is unknown, or `max_trials` is given: the stages decide how many there are.
        ValueError: If a number is out of its range.
    """

    def __init__(
        self,
        hypermodel: Any,
        objective: Any = None,
        *,
        first_seed: int = 0,
        tolerance_loss: float = TOLERANCE_LOSS,
        **rest: Any,
    ) -> None:
        if "max_trials" in rest:
            raise TypeError("StagedSearch takes no max_trials: its stages decide. Limit it with timeout_s.")
        self.first_seed = first_seed
        self.tolerance_loss = tolerance_loss
        super().__init__(hypermodel, objective, **rest)

    def method(self) -> Method:
        return tune_method(self._wishes, self.options, first_seed=self.first_seed, tolerance_loss=self.tolerance_loss)
