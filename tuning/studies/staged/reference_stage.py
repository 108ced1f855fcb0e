"""Stage 1: learning rates at the reference batch size."""

from __future__ import annotations

from tuning.selection.arms import Arm
from tuning.studies.plans import Planned
from tuning.studies.staged.rates import LADDER, Rate, around
from tuning.studies.staged.reference import SEEDS, Reference, read_reference, reference_budget
from tuning.studies.staged.seen import Seen
from tuning.studies.staged.sizes import reference_size

REFERENCE = "reference"


def due(seen: Seen) -> list[Planned]:
    """What the reference still needs: five learning rates, others outward while the best is at an edge, then the best
    one on two more seeds if there is a target to be set.
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
    repeats = (_planned(seen, size, best.learning_rate, repeat) for repeat in range(1, SEEDS))
    return [each for each in repeats if not seen.has_started(each)]


def outcome(seen: Seen) -> Reference | None:
    """What the reference taught; None while it is incomplete, or if none of its trainings gave a score."""
    size = size_of(seen)
    if size is None or due(seen) or seen.is_running(REFERENCE):
        return None
    best = _best(seen, size)
    if best is None:
        return None
    setting = (best.learning_rate, best.hyperparameters)
    trials = [t for t in seen.results(REFERENCE) if t.scored and t.batch_size == size and t.setting == setting]
    return read_reference(trials, seen.question)


def repeats_ahead(seen: Seen) -> int:
    """Trainings on further seeds that will be due once the best learning rate is known."""
    size = size_of(seen)
    if size is None or seen.question.target is not None or outcome(seen) is not None:
        return 0
    is_sought = _is_seeking(seen) or any(each.seed == seen.question.first_seed for each in due(seen))
    return SEEDS - 1 if is_sought else 0


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
