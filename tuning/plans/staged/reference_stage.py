"""Stage 1 of a staged search: learning rates at the reference batch size."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from tuning.plans.staged.rates import LADDER, Rate, around
from tuning.plans.staged.reference import SEEDS, Reference, read_reference, reference_budget
from tuning.plans.staged.state import StagedState
from tuning.stats.arms import Arm
from tuning.stats.forecast import reference_size
from tuning.trial import REFERENCE, Trial

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
        return [_planned(state, size, rate) for rate in rates]
    best = _best(state, size)
    if not _choices(state) and (further := state.rate_beyond(size, ladder, best, REFERENCE)):
        return [_planned(state, size, rate) for rate in further]
    if best is None or state.goal.target is not None:
        return []
    repeats = (_planned(state, size, rate, repeat) for repeat in range(1, SEEDS) for rate in _leaders(state, best))
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
    return read_reference(max(complete, key=lambda trials: sign * _mean(trials)), state.goal)


def repeats_ahead(state: StagedState) -> int:
    """Return the number of trainings on further seeds that will be due once the best learning rate is known."""
    size = reference_size_of(state)
    if size is None or state.goal.target is not None or reference_of(state) is not None:
        return 0
    is_sought = _is_seeking(state) or any(each.seed == state.goal.first_seed for each in reference_trials(state))
    return min(LEADERS, len(ladder_of(state, size))) * (SEEDS - 1) if is_sought else 0


def reference_size_of(state: StagedState) -> int | None:
    """Return the reference batch size: a smaller one where memory ran out; None if it did at all of them."""
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


def _planned(state: StagedState, size: int, rate: Rate, repeat: int = 0) -> Trial:
    return Trial(state.setting(size, rate), state.goal.first_seed + repeat, REFERENCE, reference_budget(state.goal))
