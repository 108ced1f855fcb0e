"""Stage 1: learning rates at the reference batch size."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from tuning.stats.arms import Arm
from tuning.stats.results import TrialResult
from tuning.study.plans import Planned
from tuning.study.staged.rates import LADDER, Rate, around
from tuning.study.staged.reference import SEEDS, Reference, read_reference, reference_budget
from tuning.study.staged.seen import Seen
from tuning.study.staged.sizes import reference_size

REFERENCE = "reference"
LEADERS = 2
"""Learning rates that are repeated before one of them sets the target."""


def due(seen: Seen) -> list[Planned]:
    """What the reference still needs: five learning rates, others outward while the best is at an edge, then the two
    best on two more seeds if there is a target to be set: the best of several by one seed has its luck to thank.
    """
    size = size_of(seen)
    if size is None:
        return []
    ladder = ladder_of(seen, size)
    rates = seen.rates_lacking(size, ladder, REFERENCE)
    if rates or _is_seeking(seen):
        return [_planned(seen, size, rate) for rate in rates]
    best = _best(seen, size)
    if not _choices(seen) and (further := seen.rate_beyond(size, ladder, best, REFERENCE)):
        return [_planned(seen, size, rate) for rate in further]
    if best is None or seen.question.target is not None:
        return []
    repeats = (_planned(seen, size, rate, repeat) for repeat in range(1, SEEDS) for rate in _leaders(seen, best))
    return [each for each in repeats if not seen.has_started(each)]


def outcome(seen: Seen) -> Reference | None:
    """What the reference taught; None while it is incomplete, or if none of its trainings gave a score."""
    size = size_of(seen)
    if size is None or due(seen) or seen.is_running(REFERENCE):
        return None
    best = _best(seen, size)
    if best is None:
        return None
    scored = [t for t in seen.results(REFERENCE) if t.scored and t.batch_size == size]
    by_rate = {rate: [t for t in scored if t.learning_rate == rate] for rate in _leaders(seen, best)}
    most = max(len(trials) for trials in by_rate.values())
    sign = 1 if seen.question.maximize else -1
    complete = [trials for trials in by_rate.values() if len(trials) == most]
    return read_reference(max(complete, key=lambda trials: sign * _mean(trials)), seen.question)


def repeats_ahead(seen: Seen) -> int:
    """Trainings on further seeds that will be due once the best learning rate is known."""
    size = size_of(seen)
    if size is None or seen.question.target is not None or outcome(seen) is not None:
        return 0
    is_sought = _is_seeking(seen) or any(each.seed == seen.question.first_seed for each in due(seen))
    return min(LEADERS, len(ladder_of(seen, size))) * (SEEDS - 1) if is_sought else 0


def size_of(seen: Seen) -> int | None:
    """The reference batch size: a smaller one where memory ran out; None if it did at all of them."""
    fitting = [size for size in candidates(seen) if not seen.has_no_memory_for(size)]
    return reference_size(fitting, seen.machine) if fitting else None


def candidates(seen: Seen) -> list[int]:
    """The batch sizes that are known to fit, or not known not to."""
    largest = seen.machine.largest_batch_size
    return [size for size in seen.space.batch_size.values() if largest is None or size <= largest]


def _choices(seen: Seen) -> tuple[float, ...]:
    """The learning rates that the user named, if any."""
    rate = seen.space.learning_rate
    return () if rate is None else rate.values


def _leaders(seen: Seen, best: Arm) -> list[Rate]:
    """The learning rates to be repeated: the best, and the one that scored best of the others; with a target the best.

    Where a target is given, rates are judged by the time to it, and nothing is repeated.
    """
    if seen.question.target is not None:
        return [best.learning_rate]
    sign = 1 if seen.question.maximize else -1
    first = seen.without(REFERENCE, from_seed=seen.question.first_seed + 1).results(REFERENCE)
    others = [
        t for t in first if t.scored and t.batch_size == best.batch_size and t.learning_rate != best.learning_rate
    ]
    others.sort(key=lambda trial: -sign * (trial.objective or 0.0))
    return [best.learning_rate, *(trial.learning_rate for trial in others[: LEADERS - 1])]


def _mean(trials: Sequence[TrialResult]) -> float:
    return statistics.fmean(trial.objective or 0.0 for trial in trials)


def _is_seeking(seen: Seen) -> bool:
    """Whether a trial that seeks the learning rate runs."""
    return seen.is_running(REFERENCE, before_seed=seen.question.first_seed + 1)


def _best(seen: Seen, size: int) -> Arm | None:
    """The reference at its best learning rate by the first seed, which all rates were tried with."""
    first = seen.without(REFERENCE, from_seed=seen.question.first_seed + 1)
    return first.best(seen.question.target, REFERENCE).get(size)


def _planned(seen: Seen, size: int, rate: Rate, repeat: int = 0) -> Planned:
    return Planned(
        seen.setting(size, rate), seen.question.first_seed + repeat, REFERENCE, reference_budget(seen.question)
    )


def ladder_of(seen: Seen, size: int) -> tuple[Rate, ...]:
    """The learning rates to try at the reference batch size at first."""
    rate = seen.space.learning_rate
    if rate is None:
        return (None,)
    if rate.values:
        return rate.values
    return around(rate.centre(size, optimizer=seen.space.optimizer, model_rate=seen.space.model_rate), LADDER)
