"""The three stages: learning rates at the reference batch size, batch sizes around the forecast, fresh seeds."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence

from search_spaces.space import Setting
from tuning.plans.staged.reference import (
    SEEDS,
    Reference,
    confirm_budget,
    judged_target,
    read_reference,
    reference_budget,
    search_budget,
)
from tuning.plans.staged.state import (
    HALF_STEPS,
    LADDER,
    WINDOW,
    Rate,
    StagedState,
    StudyGoal,
    around,
    followed,
    has_reached,
)
from tuning.stats.arms import Arm
from tuning.stats.costs import arm_costs
from tuning.stats.forecast import best_forecast, reference_size, sizes_to_search
from tuning.stats.next_seed import sizes_worth_another_seed
from tuning.stats.rules import LEAST_SEEDS
from tuning.trial import CONFIRM, REFERENCE, SEARCH, Trial

RACE = 1.5
"""A batch size is in the race for the shortest time if it took up to so many times the least."""
LEADERS = 2
"""Learning rates that are repeated before one of them sets the target."""


def reference_trials(state: StagedState) -> list[Trial]:
    """Return what the reference still needs.

    Five learning rates, others outward while the best is at an edge, then the two best on two more seeds if there is a
    target to be set: the best of several by one seed has its luck to thank.
    """
    size = reference_size_of(state)
    if size is None:
        return []
    ladder = ladder_of(state, size)
    rates = state.rates_lacking(size, ladder, REFERENCE)
    if rates or _is_seeking(state):
        return [_planned_reference(state, size, rate) for rate in rates]
    best = _best(state, size)
    if not _choices(state) and (further := state.rate_beyond(size, ladder, best, REFERENCE)):
        return [_planned_reference(state, size, rate) for rate in further]
    if best is None or state.goal.target is not None:
        return []
    repeats = (
        _planned_reference(state, size, rate, repeat) for repeat in range(1, SEEDS) for rate in _leaders(state, best)
    )
    return [each for each in repeats if not state.has_started(each)]


def reference_of(state: StagedState) -> Reference | None:
    """Return what the reference taught; None while it is incomplete, or if none of its trainings gave a score."""
    size = reference_size_of(state)
    if size is None or reference_trials(state) or state.is_running(REFERENCE):
        return None
    best = _best(state, size)
    if best is None:
        return None
    scored = [trial for trial in state.ended(REFERENCE) if trial.scored and trial.batch_size == size]
    by_rate = {rate: [t for t in scored if t.learning_rate == rate] for rate in _leaders(state, best)}
    most = max(len(trials) for trials in by_rate.values())
    sign = state.goal.objective.sign
    complete = [trials for trials in by_rate.values() if len(trials) == most]
    goal = dataclasses.replace(state.goal, target=_target_in_use(state))
    return read_reference(max(complete, key=lambda trials: sign * _mean(trials)), goal)


def _target_in_use(state: StagedState) -> float | None:
    """Return the target at which trainings have ended already: later learning rates do not move it; None before any."""
    if state.goal.target is not None:
        return state.goal.target
    goals = (trial.budget.goal for trial in state.ended(SEARCH))
    return next((goal.value for goal in goals if goal is not None), None)


def repeats_ahead(state: StagedState) -> int:
    """Return the number of trainings on further seeds that will be due once the best learning rate is known."""
    size = reference_size_of(state)
    if size is None or state.goal.target is not None or reference_of(state) is not None:
        return 0
    is_sought = _is_seeking(state) or any(each.seed == state.goal.first_seed for each in reference_trials(state))
    return min(LEADERS, len(ladder_of(state, size))) * (SEEDS - 1) if is_sought else 0


def reference_size_of(state: StagedState) -> int | None:
    """Return the reference batch size: a smaller one where memory ran out; None if it did at all of them."""
    trained = [trial.batch_size for trial in state.ended(REFERENCE) if trial.scored]
    if trained:
        return trained[-1]  # a study that has grown keeps its reference
    fitting = [size for size in fitting_sizes(state) if not state.has_no_memory_for(size)]
    return reference_size(fitting, state.user.knee) if fitting else None


def fitting_sizes(state: StagedState) -> list[int]:
    """Return the batch sizes that are known to fit, or not known not to."""
    largest = state.machine.largest_batch_size
    return [size for size in state.space.batch_size.values() if largest is None or size <= largest]


def ladder_of(state: StagedState, size: int) -> tuple[Rate, ...]:
    """Return the learning rates to try at the reference batch size at first."""
    rate = state.space.learning_rate
    if rate is None:
        return (None,)
    if rate.values:
        return rate.values
    return around(rate.centre(size, optimizer=state.space.optimizer, model_rate=state.space.model_rate), LADDER)


def _choices(state: StagedState) -> tuple[float, ...]:
    """Return the learning rates that the user named, if any."""
    rate = state.space.learning_rate
    return () if rate is None else rate.values


def _leaders(state: StagedState, best: Arm) -> list[Rate]:
    """Return the learning rates to be repeated: the best, and the one that scored best of the others.

    Where a target is given, rates are judged by the time to it, and nothing is repeated.
    """
    if state.goal.target is not None:
        return [best.learning_rate]
    first = state.without(REFERENCE, from_seed=state.goal.first_seed + 1).ended(REFERENCE)
    others = [
        t for t in first if t.scored and t.batch_size == best.batch_size and t.learning_rate != best.learning_rate
    ]
    others.sort(key=lambda trial: -state.goal.objective.sign * (trial.score or 0.0))
    return [best.learning_rate, *(trial.learning_rate for trial in others[: LEADERS - 1])]


def _mean(trials: Sequence[Trial]) -> float:
    return statistics.fmean(trial.score or 0.0 for trial in trials)


def _is_seeking(state: StagedState) -> bool:
    """Return whether a trial that seeks the learning rate runs."""
    return state.is_running(REFERENCE, before_seed=state.goal.first_seed + 1)


def _best(state: StagedState, size: int) -> Arm | None:
    """Return the reference at its best learning rate by the first seed, which all rates were tried with."""
    first = state.without(REFERENCE, from_seed=state.goal.first_seed + 1)
    return first.best(state.goal.target, REFERENCE).get(size)


def _planned_reference(state: StagedState, size: int, rate: Rate, repeat: int = 0) -> Trial:
    return Trial(state.setting(size, rate), state.goal.first_seed + repeat, REFERENCE, reference_budget(state.goal))


def searched_sizes(state: StagedState, reference: Reference, *, all_sizes: bool) -> tuple[int, ...]:
    """Return the batch sizes to search, ascending; the reference is one of them.

    Args:
        state: What is known.
        reference: What the reference taught.
        all_sizes: Whether to search all that the space has.
    """
    fitting = fitting_sizes(state)
    if all_sizes:
        return tuple(fitting)
    found = sizes_to_search(fitting, _forecast(state), state.critical_batch_size)
    return tuple(sorted({*found, reference.batch_size}))


def search_trials(state: StagedState, reference: Reference, *, all_sizes: bool) -> list[Trial]:
    """Return what the search still needs: every batch size at the centre of its window first, near the forecast first.

    Rates beyond a window's edge are asked for only when all windows are complete, because a batch size is judged with
    its neighbours. The reference batch size has its ladder already, but by the time to the target its best rate may be
    another than by the final score, and at an edge. Once no best rate is at an edge, the batch sizes still in the race
    try the two rates half a step from their best one. The rates between steps decide of neither.
    """
    every = searched_sizes(state, reference, all_sizes=all_sizes)
    windows = {size: _window(state, reference, size) for size in every if not state.has_no_memory_for(size)}
    steps = state.on_steps({size: window[0] for size, window in windows.items()}, REFERENCE, SEARCH)
    rates = {size: steps.rates_lacking(size, window, REFERENCE, SEARCH) for size, window in windows.items()}
    if not any(rates.values()) and not steps.is_running(SEARCH) and _may_extend(state):
        best = steps.best(reference.target, REFERENCE, SEARCH)
        rates = {
            size: steps.rate_beyond(size, window, best.get(size), REFERENCE, SEARCH) for size, window in windows.items()
        }
        if not any(rates.values()):
            halves = _halves(state, best, reference)
            rates = {size: state.rates_lacking(size, some, REFERENCE, SEARCH) for size, some in halves.items()}
    forecast = _forecast(state)
    ranked = sorted(
        (
            (windows[size].index(rate) if rate in windows[size] else 0, abs(math.log(size / forecast)), size, rate)
            for size, some in rates.items()
            for rate in some
        ),
        key=lambda entry: entry[:3],
    )
    return [_planned_search(state, reference, size, rate) for _, _, size, rate in ranked]


def _halves(state: StagedState, best: Mapping[int, Arm], reference: Reference) -> dict[int, tuple[Rate, ...]]:
    """Return the two rates half a step from the best one of each batch size that is still in the race.

    In the race are those whose training at their best rate took up to half again as long as the soonest: rates three
    times apart miss the best one by 9 to 14 % of the time on average, and by 25 to 51 % at worst.
    """
    objective = state.goal.objective
    seconds = {}
    for size, arm in best.items():
        costs = arm_costs([arm], objective=objective, target=reference.target, throughput=None)
        examples = costs.examples_to_target(size)
        if examples is not None and arm.learning_rate is not None:
            seconds[size] = examples / size * state.user.seconds(size)
    limit = RACE * min(seconds.values(), default=0.0)
    return {
        size: around(best[size].learning_rate or math.nan, HALF_STEPS)
        for size, each in seconds.items()
        if each <= limit
    }


def _forecast(state: StagedState) -> float:
    """Return the batch size that is expected to reach the target soonest."""
    return best_forecast(state.user.line, state.user.knee, state.critical_batch_size)


def _planned_search(state: StagedState, reference: Reference, size: int, rate: Rate) -> Trial:
    budget = search_budget(reference, size, state.critical_batch_size, state.goal)
    return Trial(state.setting(size, rate), state.goal.first_seed, SEARCH, budget)


def _may_extend(state: StagedState) -> bool:
    """Return whether the rates are ours to choose."""
    return state.space.learning_rate is not None and not state.space.learning_rate.values


def _window(state: StagedState, reference: Reference, size: int) -> tuple[Rate, ...]:
    """Return the learning rates to try at a batch size at first."""
    if size == reference.batch_size:
        return ladder_of(state, size)
    rate = state.space.learning_rate
    if rate is None or reference.learning_rate is None:
        return (None,)
    if rate.values:
        return rate.values
    centre = followed(
        reference.learning_rate,
        size,
        known_at=reference.batch_size,
        rule=rate.rule,
        optimizer=state.space.optimizer,
        noise_scale=state.critical_batch_size,
    )
    return around(centre, WINDOW)


MORE_SEEDS = 2
"""Fresh seeds that batch sizes in a close race may get beyond those planned."""


def confirm_trials(state: StagedState, reference: Reference) -> list[Trial]:
    """Return what the confirmation still needs.

    All batch sizes share the first fresh seed; those that may be the best share the second, unless only one is planned.
    A further seed goes to those that save most expected loss per second of training. It is asked for only when all
    trials of the seeds before have ended.
    """
    chosen = settings_to_confirm(state, reference)
    first = state.goal.first_seed + SEEDS
    lacking = _lacking(state, reference, chosen, first)
    for seed in range(first + 1, first + most_seeds(state.goal)):
        if lacking or state.is_running(CONFIRM, before_seed=seed):
            break
        worth = _worth_another(state.without(CONFIRM, from_seed=seed), reference)
        lacking = _lacking(state, reference, {size: each for size, each in chosen.items() if size in worth}, seed)
        if not worth:
            break
    return lacking


def usual_seeds(goal: StudyGoal) -> int:
    """Return the fresh seeds that a batch size usually gets: the fewest that show the noise."""
    return min(goal.seeds, LEAST_SEEDS)


def most_seeds(goal: StudyGoal) -> int:
    """Return the fresh seeds that no batch size gets more of."""
    return goal.seeds + MORE_SEEDS


def settings_to_confirm(state: StagedState, reference: Reference) -> dict[int, Setting]:
    """Return each batch size to confirm at its best setting in the search: those that reached the target, or else all.

    The confirming trials themselves do not enter, so that the settings stay what they were. They also stay when other
    batch sizes or more seeds are added to a study: only further learning rates of its own give a batch size another.
    """
    best = state.best(reference.target, REFERENCE, SEARCH)
    objective = state.goal.objective
    reached = {size: arm for size, arm in best.items() if has_reached(arm.trials, reference.target, objective)}
    found = {size: Setting(size, arm.learning_rate, arm.hyperparameters) for size, arm in (reached or best).items()}
    return {size: state.confirmed.get(size, setting) for size, setting in found.items()}


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
        cost=goal.cost,
        target=judged_target(reference, state.ended(CONFIRM), goal),
        throughput=state.user.examples_per_second(state.space.batch_size.values()),
        least_seeds=usual_seeds(goal),
        most_seeds=most_seeds(goal),
        tolerance_loss=goal.tolerance_loss,
    )
