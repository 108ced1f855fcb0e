"""The three kinds of search, from plain arguments: what the tuners and the command line both run."""

from __future__ import annotations

import functools

import optuna

from search_spaces.batch_size import BatchSize
from tuning.instructions import Budget
from tuning.loops.loop import AUTO, KERAS
from tuning.machine.machine import Machine
from tuning.plans.allocated_grid import AllocatedGridPlan, SeedGoal
from tuning.plans.plan import GridPlan, Plan
from tuning.plans.staged.plan import StagedPlan
from tuning.plans.staged.state import StudyGoal
from tuning.search.limits import check_repeats
from tuning.search.method import Method
from tuning.search.options import SearchOptions
from tuning.search.preparation import Setup
from tuning.search.wishes import Wishes
from tuning.stats.forecast import candidate_sizes
from tuning.stats.rules import TOLERANCE_LOSS

PROPOSALS = 30
"""How many settings Bayesian optimisation proposes where nobody says otherwise."""


def grid_method(
    wishes: Wishes, options: SearchOptions, *, first_seed: int = 0, max_trials: int | None = None
) -> Method:
    """Return the method that trains every batch size with every seed, or with those that are worth it.

    Args:
        wishes: What is to be tried.
        options: How the search runs.
        first_seed: The first of the seeds that every batch size is trained with.
        max_trials: Trials to plan; None for all.

    Raises:
        ValueError: If a number is out of its range.
    """
    if first_seed < 0:
        raise ValueError(f"seed must be at least 0; got {first_seed}.")
    _check_trials(max_trials)

    def make_plan(setup: Setup, _: Machine) -> Plan:
        budget = Budget(setup.arguments.epochs)
        if not wishes.allocates_seeds:
            return GridPlan(setup.space, wishes.seeds, budget=budget, max_trials=max_trials, first_seed=first_seed)
        goal = SeedGoal(setup.objective, options.rule, options.tolerance, options.target, options.cost)
        return AllocatedGridPlan(setup.space, goal, budget=budget, max_trials=max_trials, first_seed=first_seed)

    settings = {"first_seed": str(first_seed)} if first_seed else {}
    return Method("grid", make_plan, widens=False, settings=settings)


def bayes_method(
    wishes: Wishes,
    options: SearchOptions,
    *,
    max_trials: int | None = None,
    sampler: str | optuna.samplers.BaseSampler = "gp",
    start_batch_size: int | None = None,
    seed: int = 0,
) -> Method:
    """Return the method that proposes settings from what has been seen, and confirms the leaders.

    Args:
        wishes: What is to be tried.
        options: How the search runs.
        max_trials: Proposals; None for 30.
        sampler: What proposes, as `make_sampler` takes it.
        start_batch_size: One that "gp" tries early.
        seed: The sampler's.

    Raises:
        TypeError: If the sampler is of another type.
        ValueError: If there is no sampler of this name, it takes no batch size to start with, or a number is out of its
            range.
    """
    from tuning.plans.bayes import BayesianBudget, BayesianPlan  # a Gaussian process, which only this search needs
    from tuning.plans.samplers import check_sampler, make_sampler

    check_sampler(sampler, start_batch_size)
    _check_seeds(wishes)
    _check_states(options)
    _check_trials(max_trials)
    proposals = PROPOSALS if max_trials is None else max_trials

    def make_plan(setup: Setup, machine: Machine) -> Plan:
        limit = None if options.accumulate else machine.largest_batch_size
        return BayesianPlan(
            setup.space,
            budget=BayesianBudget(proposals, wishes.seeds, Budget(setup.arguments.epochs)),
            objective=setup.objective,
            make_sampler=functools.partial(
                make_sampler,
                sampler,
                budget=proposals,
                objective=setup.objective,
                seed=seed,
                largest_fitting=limit,
                start_batch_size=start_batch_size,
            ),
            largest_fitting=limit,
        )

    return Method("bayes", make_plan, halves_side_by_side=True)


def tune_method(
    wishes: Wishes, options: SearchOptions, *, first_seed: int = 0, tolerance_loss: float = TOLERANCE_LOSS
) -> Method:
    """Return the method that finds the batch size that reaches a target soonest, in stages: see `StagedPlan`.

    Args:
        wishes: What is to be tried.
        options: How the search runs.
        first_seed: The seed of the search; the fresh seeds are those after it.
        tolerance_loss: The share of its time that the pick may be expected to lose; no seeds are trained for less.

    Raises:
        ValueError: If the seed or the share is out of its range, or batches beyond memory are asked for.
    """
    if not 0 < tolerance_loss < 1:
        raise ValueError(
            f"tolerance_loss is a share of time, more than 0 and less than 1; got {tolerance_loss}. Try 0.01."
        )
    if first_seed < 0:
        raise ValueError(f"first_seed must be at least 0; got {first_seed}.")
    _check_seeds(wishes)
    _check_states(options)
    if options.accumulate:
        raise ValueError("StagedSearch tries no batch size beyond memory, which trains no faster; got accumulate.")
    timed = "plain model.fit" if options.loop in (AUTO, KERAS) else f"the {options.loop!r} loop"

    def make_plan(setup: Setup, _: Machine) -> Plan:
        goal = StudyGoal(
            objective=setup.objective,
            epochs=setup.arguments.epochs,
            n_train=setup.n_train,
            seeds=wishes.seeds,
            first_seed=first_seed,
            target=options.target,
            rule=options.rule,
            tolerance=options.tolerance,
            cost=options.cost,
            tolerance_loss=tolerance_loss,
        )
        all_sizes = bool(wishes.batch_size and wishes.batch_size.sizes)
        return StagedPlan(
            setup.space,
            goal,
            all_sizes=all_sizes,
            timed_loop=timed,
            shares_out=True,
            halves=options.prune is not False,
        )

    return Method(
        "tune",
        make_plan,
        prunes=True,
        varies_model=False,
        chooses_threads=False,  # it answers for plain fit, which it times with all threads
        halves_side_by_side=True,
        default_batch_size=lambda n_train: BatchSize(1, candidate_sizes(n_train)[-1]),
        settings={"first_seed": str(first_seed), "target": str(options.target)},
    )


def _check_seeds(wishes: Wishes) -> None:
    if wishes.allocates_seeds:
        raise ValueError(
            "seeds must be a whole number here, since fresh seeds go to the leaders anyway; got 'auto', which only "
            "GridSearch takes."
        )


def _check_states(options: SearchOptions) -> None:
    if options.keep_states:
        raise ValueError(
            "keep_states is for more epochs, which only GridSearch can add: what other searches try depends on scores. "
            "Drop it."
        )


def _check_trials(count: int | None) -> None:
    if count is not None:
        check_repeats("max_trials", count)
