"""Stage 1: learning rates at the reference batch size."""

from __future__ import annotations

from tuning.studies.plans import Planned
from tuning.studies.staged.rates import LADDER, Rate, around
from tuning.studies.staged.reference import Reference, read_reference, reference_budget
from tuning.studies.staged.seen import Seen
from tuning.studies.staged.sizes import reference_size

REFERENCE = "reference"


def due(seen: Seen) -> list[Planned]:
    """What the reference still needs: five learning rates, then outward while the best is at an edge."""
    size = size_of(seen)
    if size is None:
        return []
    ladder = _ladder(seen, size)
    rates = seen.rates_lacking(size, REFERENCE, ladder)
    if not rates and not seen.is_running(REFERENCE) and not _choices(seen):
        best = seen.best(seen.question.target, REFERENCE).get(size)
        rates = seen.rate_beyond(size, REFERENCE, ladder, best)
    budget = reference_budget(seen.question)
    return [Planned(seen.setting(size, rate), seen.question.first_seed, REFERENCE, budget) for rate in rates]


def outcome(seen: Seen) -> Reference | None:
    """What the reference taught; None while it is incomplete, or if none of its trainings gave a score."""
    size = size_of(seen)
    if size is None or due(seen) or seen.is_running(REFERENCE):
        return None
    best = seen.best(seen.question.target, REFERENCE).get(size)
    trial = None if best is None else next((t for t in best.trials if t.scored and t.examples_seen), None)
    return None if trial is None else read_reference(trial, seen.question)


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


def _ladder(seen: Seen, size: int) -> tuple[Rate, ...]:
    rate = seen.space.learning_rate
    if rate is None:
        return (None,)
    if rate.values:
        return rate.values
    return around(rate.centre(size, optimizer=seen.space.optimizer, model_rate=seen.space.model_rate), LADDER)
