"""How many trainings a staged search still needs, and about how long they will take."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tuning.machine.facts import NoiseFacts
from tuning.study.staged import reference_stage, search_stage
from tuning.study.staged.reference import Reference, expected_examples
from tuning.study.staged.seen import Seen

_SECONDS_PER_TRIAL = 0.2  # building, validating and recording a small model; a large one takes longer than that anyway


@dataclass(frozen=True)
class Forecast:
    """What is ahead, rates beyond edges and close races not counted.

    Args:
        reference_size: The reference batch size; None if none fits.
        reference: Trainings there.
        search: Trainings that seek the learning rates of the others.
        confirm: Trainings on fresh seeds.
        sizes: The batch sizes expected.
        seconds: Of all trainings together, on one device.
    """

    reference_size: int | None
    reference: int
    search: int
    confirm: int
    sizes: tuple[int, ...]
    seconds: float

    @property
    def trainings(self) -> int:
        """All of them."""
        return self.reference + self.search + self.confirm


def forecast(seen: Seen, rates_per_size: int, *, all_sizes: bool) -> Forecast:
    """Forecast the whole search, from what is known: the law of updates tells how many examples each size will need.

    Args:
        seen: What is known.
        rates_per_size: Learning rates that a batch size is searched with at first.
        all_sizes: Whether every batch size of the space is searched.
    """
    question = seen.question
    due = len(reference_stage.due(seen)) + reference_stage.repeats_ahead(seen)
    size = reference_stage.size_of(seen)
    guess = None if size is None else Reference(size, None, 0.0, float(question.epochs * question.n_train))
    reference = reference_stage.outcome(seen) or guess
    if reference is None:
        return Forecast(None, 0, 0, 0, (), 0.0)
    noise = seen.noise or NoiseFacts()
    sizes = search_stage.sizes(seen, noise, reference, all_sizes=all_sizes)
    searched = rates_per_size * (len(sizes) - 1)
    confirmed = question.seeds * len(sizes)
    seconds = due * _seconds_of(seen, reference.batch_size, question.epochs * question.n_train)
    seconds += sum(_seconds_by_size(seen, sizes, reference, noise, rates_per_size))
    return Forecast(size, due, searched, confirmed, sizes, seconds)


def _seconds_by_size(
    seen: Seen, sizes: tuple[int, ...], reference: Reference, noise: NoiseFacts, rates_per_size: int
) -> Iterator[float]:
    question = seen.question
    for size in sizes:
        examples = expected_examples(reference, size, noise.critical_batch_size)
        searched = 0 if size == reference.batch_size else rates_per_size
        confirmed = max(examples, question.epochs * question.n_train)
        yield seen.machine.seconds_to_start
        yield searched * _seconds_of(seen, size, examples)
        yield question.seeds * _seconds_of(seen, size, confirmed)


def _seconds_of(seen: Seen, size: int, examples: float) -> float:
    return _SECONDS_PER_TRIAL + examples / size * seen.machine.trials.seconds(size)
