"""Stage 2 of a staged search: batch sizes around the forecast, a few learning rates each."""

from __future__ import annotations

import math

from tuning.plans.staged.rates import WINDOW, Rate, around, followed
from tuning.plans.staged.reference import Reference, search_budget
from tuning.plans.staged.reference_stage import fitting_sizes, ladder_of
from tuning.plans.staged.state import StagedState
from tuning.stats.forecast import best_forecast, sizes_to_search
from tuning.trial import REFERENCE, SEARCH, Trial


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
    another than by the final score, and at an edge.
    """
    every = searched_sizes(state, reference, all_sizes=all_sizes)
    windows = {size: _window(state, reference, size) for size in every if not state.has_no_memory_for(size)}
    rates = {size: state.rates_lacking(size, window, REFERENCE, SEARCH) for size, window in windows.items()}
    if not any(rates.values()) and not state.is_running(SEARCH) and _may_extend(state):
        best = state.best(reference.target, REFERENCE, SEARCH)
        rates = {
            size: state.rate_beyond(size, window, best.get(size), REFERENCE, SEARCH) for size, window in windows.items()
        }
    forecast = _forecast(state)
    ranked = sorted(
        (
            (windows[size].index(rate) if rate in windows[size] else 0, abs(math.log(size / forecast)), size, rate)
            for size, some in rates.items()
            for rate in some
        ),
        key=lambda entry: entry[:3],
    )
    return [_planned(state, reference, size, rate) for _, _, size, rate in ranked]


def _forecast(state: StagedState) -> float:
    """Return the batch size that is expected to reach the target soonest."""
    return best_forecast(state.user.line, state.user.knee, state.critical_batch_size)


def _planned(state: StagedState, reference: Reference, size: int, rate: Rate) -> Trial:
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
