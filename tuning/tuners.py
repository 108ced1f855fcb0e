"""GridSearch, BayesianOptimization and StagedSearch: `keras_tuner.Tuner`s that search batch sizes."""

from __future__ import annotations

import functools
from typing import Any

import optuna

from search_spaces.batch_size import BatchSize
from tuning.loops.loop import AUTO, KERAS
from tuning.machine.machine import Machine
from tuning.plans.bayes import BayesianBudget, BayesianPlan
from tuning.plans.plan import GridPlan, Plan
from tuning.plans.samplers import check_sampler, make_sampler
from tuning.plans.staged.plan import StagedPlan
from tuning.plans.staged.state import StudyGoal
from tuning.search.preparation import Setup
from tuning.search.search import Method
from tuning.stats.forecast import candidate_sizes
from tuning.trial import Budget
from tuning.tuner import BatchSizeTuner

_PROPOSALS = 30


class GridSearch(BatchSizeTuner):
    """Train every batch size with every seed, and recommend one.

    Args:
        seed: The first of the seeds that every batch size is trained with. All other arguments are those of
            `BatchSizeTuner`.

    >>> tuner = GridSearch(build_model, batch_size=BatchSize(8, 512), objective="val_accuracy")  # doctest: +SKIP
    >>> tuner.search(x, y, validation_data=(x_val, y_val), epochs=5)  # doctest: +SKIP
    >>> tuner.recommend().batch_size  # doctest: +SKIP
    """

    def __init__(
        self, hypermodel: Any, objective: Any = None, max_trials: int | None = None, *, seed: int = 0, **rest: Any
    ) -> None:
        if seed < 0:
            raise ValueError(f"seed must be at least 0; got {seed}.")
        self.seed = seed
        super().__init__(hypermodel, objective, max_trials, **rest)

    def method(self) -> Method:
        def make_plan(setup: Setup, _: Machine) -> Plan:
            budget = Budget(setup.arguments.epochs)
            return GridPlan(setup.space, self.seeds, budget=budget, max_trials=self.max_trials, first_seed=self.seed)

        return Method("grid", make_plan, settings={"first_seed": str(self.seed)} if self.seed else {})


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
        max_trials: int | None = _PROPOSALS,
        *,
        sampler: str | optuna.samplers.BaseSampler = "gp",
        start_batch_size: int | None = None,
        seed: int = 0,
        **rest: Any,
    ) -> None:
        check_sampler(sampler, start_batch_size)
        self.sampler, self.sampler_seed, self.start_batch_size = sampler, seed, start_batch_size
        super().__init__(hypermodel, objective, max_trials, **rest)

    def method(self) -> Method:
        return Method("bayes", self._make_plan)

    def _make_plan(self, setup: Setup, machine: Machine) -> Plan:
        proposals = self.max_trials or _PROPOSALS
        limit = None if self.options.accumulate else machine.largest_batch_size
        return BayesianPlan(
            setup.space,
            budget=BayesianBudget(proposals, self.seeds, Budget(setup.arguments.epochs)),
            objective=setup.objective,
            make_sampler=functools.partial(
                make_sampler,
                self.sampler,
                budget=proposals,
                objective=setup.objective,
                seed=self.sampler_seed,
                largest_fitting=limit,
                start_batch_size=self.start_batch_size,
            ),
            largest_fitting=limit,
        )


class StagedSearch(BatchSizeTuner):
    """Find the batch size that reaches a target soonest, in stages: each decides what the next one tries.

    The machine is timed; learning rates are tuned at a reference batch size, which sets the target; the gradient's
    noise scale there forecasts where to look; batch sizes on both sides of the forecast each seek their own learning
    rate; and each is confirmed on fresh seeds, a close race on more of them. See `StagedPlan`.
    Hyperparameters of the model's own are held at their defaults.

    Args:
        batch_size: Sizes to choose from; a list is tried whole. None for powers of two up to 4096 that leave at least 8
            updates in an epoch.
        seeds: Fresh seeds of each batch size.
        first_seed: The seed of the search; the fresh seeds are those after it. All other arguments are those of
            `BatchSizeTuner`.

    Raises:
        TypeError: If an option is unknown, or `max_trials` is given: the stages decide how many there are.
        ValueError: If a number is out of its range.
    """

    def __init__(self, hypermodel: Any, objective: Any = None, *, first_seed: int = 0, **rest: Any) -> None:
        if "max_trials" in rest:
            raise TypeError("StagedSearch takes no max_trials: its stages decide. Limit it with timeout_s.")
        if first_seed < 0:
            raise ValueError(f"first_seed must be at least 0; got {first_seed}.")
        self.first_seed = first_seed
        super().__init__(hypermodel, objective, **rest)
        if self.options.accumulate:
            raise ValueError("StagedSearch tries no batch size beyond memory, which trains no faster; got accumulate.")

    def method(self) -> Method:
        return Method(
            "tune",
            self._make_plan,
            prunes=True,
            varies_model=False,
            chooses_threads=False,  # it answers for plain fit, which it times with all threads
            default_batch_size=lambda n_train: BatchSize(1, candidate_sizes(n_train)[-1]),
            settings={"first_seed": str(self.first_seed), "target": str(self.options.target)},
        )

    def _make_plan(self, setup: Setup, _: Machine) -> Plan:
        goal = StudyGoal(
            objective=setup.objective,
            epochs=setup.arguments.epochs,
            n_train=setup.n_train,
            seeds=self.seeds,
            first_seed=self.first_seed,
            target=self.options.target,
            rule=self.options.rule,
            tolerance=self.options.tolerance,
            cost=self.options.cost,
        )
        timed = "plain model.fit" if self.options.loop in (AUTO, KERAS) else f"the {self.options.loop!r} loop"
        all_sizes = bool(self.batch_size and self.batch_size.sizes)
        return StagedPlan(setup.space, goal, all_sizes=all_sizes, timed_loop=timed)
