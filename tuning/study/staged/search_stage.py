"""Stage 2: batch sizes around the forecast, a few learning rates each."""

from __future__ import annotations

import math

from tuning.machine.facts import NoiseFacts
from tuning.stats.results import SEARCH
from tuning.study.plans import Planned
from tuning.study.staged.rates import WINDOW, Rate, around, followed
from tuning.study.staged.reference import Reference, search_budget
from tuning.study.staged.reference_stage import REFERENCE, candidates, ladder_of
from tuning.study.staged.seen import Seen
from tuning.study.staged.sizes import best_forecast, sizes_to_search


def sizes(seen: Seen, noise: NoiseFacts, reference: Reference, *, all_sizes: bool) -> tuple[int, ...]:
    """The batch sizes to search, ascending; the reference is one of them.

    Args:
        seen: What is known.
        noise: Of the gradient, for the forecast.
        reference: What the reference taught.
        all_sizes: Whether to search all that the space has.
    """
    fitting = candidates(seen)
    if all_sizes:
        return tuple(fitting)
    found = sizes_to_search(fitting, best_forecast(seen.machine, noise), noise.critical_batch_size)
    return tuple(sorted({*found, reference.batch_size}))


def due(seen: Seen, noise: NoiseFacts, reference: Reference, *, all_sizes: bool) -> list[Planned]:
    """What the search still needs: every batch size at the centre of its window first, those near the forecast first.

    Rates beyond a window's edge are asked for only when all windows are complete, because a batch size is judged with
    its neighbours. The reference batch size has its ladder already, but by the time to the target its best rate may be
    another than by the final score, and at an edge.
    """
    every = sizes(seen, noise, reference, all_sizes=all_sizes)
    windows = {size: _window(seen, noise, reference, size) for size in every if not seen.has_no_memory_for(size)}
    rates = {size: seen.rates_lacking(size, window, REFERENCE, SEARCH) for size, window in windows.items()}
    if not any(rates.values()) and not seen.is_running(SEARCH) and _may_extend(seen):
        best = seen.best(reference.target, REFERENCE, SEARCH)
        rates = {
            size: seen.rate_beyond(size, window, best.get(size), REFERENCE, SEARCH) for size, window in windows.items()
        }
    forecast = best_forecast(seen.machine, noise)
    ranked = sorted(
        (
            (windows[size].index(rate) if rate in windows[size] else 0, abs(math.log(size / forecast)), size, rate)
            for size, some in rates.items()
            for rate in some
        ),
        key=lambda entry: entry[:3],
    )
    return [_planned(seen, noise, reference, size, rate) for _, _, size, rate in ranked]


def _planned(seen: Seen, noise: NoiseFacts, reference: Reference, size: int, rate: Rate) -> Planned:
    budget = search_budget(reference, size, noise.critical_batch_size, seen.question)
    return Planned(seen.setting(size, rate), seen.question.first_seed, SEARCH, budget)


def _may_extend(seen: Seen) -> bool:
    """Whether the rates are ours to choose."""
    return seen.space.learning_rate is not None and not seen.space.learning_rate.values


def _window(seen: Seen, noise: NoiseFacts, reference: Reference, size: int) -> tuple[Rate, ...]:
    """The learning rates to try at a batch size at first."""
    if size == reference.batch_size:
        return ladder_of(seen, size)
    rate = seen.space.learning_rate
    if rate is None or reference.learning_rate is None:
        return (None,)
    if rate.values:
        return rate.values
    centre = followed(
        reference.learning_rate,
        size,
        known_at=reference.batch_size,
        rule=rate.rule,
        optimizer=seen.space.optimizer,
        noise_scale=noise.critical_batch_size,
    )
    return around(centre, WINDOW)
