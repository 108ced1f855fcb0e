"""Stage 3 of a staged search: each batch size at its best learning rate on fresh seeds, more where it is close."""

from __future__ import annotations

from collections.abc import Mapping

from search_spaces.space import Setting
from tuning.plans.staged.reference import SEEDS, Reference, confirm_budget, judged_target
from tuning.plans.staged.state import StagedState, has_reached
from tuning.stats.decision import sizes_worth_another_seed
from tuning.trial import CONFIRM, REFERENCE, SEARCH, Trial

MORE_SEEDS = 2
"""Fresh seeds that batch sizes in a close race may get beyond those planned."""


def confirm_trials(state: StagedState, reference: Reference) -> list[Trial]:
    """Return what the confirmation still needs.

    A further seed is asked for only when all trials of the seeds before have ended.
    """
    chosen = settings_to_confirm(state, reference)
    first = state.goal.first_seed + SEEDS
    further = first + state.goal.seeds
    lacking = []
    for seed in range(first, further):
        lacking += _lacking(state, reference, chosen, seed)
    going_on = chosen
    for seed in range(further, further + MORE_SEEDS):
        if lacking or state.is_running(CONFIRM, before_seed=seed):
            break
        worth = _worth_another(state.without(CONFIRM, from_seed=seed), reference)
        going_on = {size: setting for size, setting in going_on.items() if size in worth}
        lacking = _lacking(state, reference, going_on, seed)
    return lacking


def settings_to_confirm(state: StagedState, reference: Reference) -> dict[int, Setting]:
    """Return each batch size to confirm at its best setting in the search: those that reached the target, or else all.

    The confirming trials themselves do not enter, so that the settings stay what they were.
    """
    best = state.best(reference.target, REFERENCE, SEARCH)
    objective = state.goal.objective
    reached = {size: arm for size, arm in best.items() if has_reached(arm.trials, reference.target, objective)}
    return {size: Setting(size, arm.learning_rate, arm.hyperparameters) for size, arm in (reached or best).items()}


def _lacking(state: StagedState, reference: Reference, chosen: Mapping[int, Setting], seed: int) -> list[Trial]:
    """Return those of the chosen settings that have not run with a seed."""
    planned = (
        Trial(setting, seed, CONFIRM, confirm_budget(reference, size, state.critical_batch_size, state.goal))
        for size, setting in chosen.items()
        if not state.has_no_memory_for(size)
    )
    return [each for each in planned if not state.has_started(each)]


def _worth_another(state: StagedState, reference: Reference) -> tuple[int, ...]:
    """Return the batch sizes that may still be the best."""
    goal = state.goal
    return sizes_worth_another_seed(
        state.ended(REFERENCE, SEARCH, CONFIRM),
        objective=goal.objective,
        rule=goal.rule,
        tolerance=goal.tolerance,
        target=judged_target(reference, state.ended(CONFIRM), goal),
        throughput=state.user.examples_per_second(state.space.batch_size.values()),
        most_seeds=goal.seeds + MORE_SEEDS,
    )
