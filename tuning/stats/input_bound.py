"""Which batch sizes wait for their examples, told by the seconds of a batch in the input pipeline alone."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping

from tuning.messages import INPUT_SECONDS
from tuning.stats.reasons import listing, number
from tuning.trial import Trial

INPUT_SHARE = 0.8
"""A size waits for its input where the pipeline alone needs this share of the seconds of an update, or more."""


def note_on_input(trials: Iterable[Trial], timed: Mapping[int, tuple[float, float]] | None = None) -> str:
    """Return a sentence that names the batch sizes that wait for their input, and the pipeline's own limit at each.

    Of sizes that were not timed alone, the seconds of an update are those of the trials; of several trials of a size,
    medians count. Trainings beside one another share the machine's cores, so that a pipeline may be the limit and not
    show; the sentence then stays out.

    Args:
        trials: Of the search.
        timed: With nothing else running, by batch size: the seconds of a batch in the pipeline alone, and of an update.

    Returns:
        Empty where none waits, or nothing is known of it.
    """
    seconds: dict[int, list[tuple[float, float, int]]] = defaultdict(list)
    for trial in trials:
        if trial.batch_size in (timed or {}):
            seconds[trial.batch_size] = [(*(timed or {})[trial.batch_size], trial.batch_size)]
            continue
        outcome = trial.outcome
        alone = None if outcome is None else outcome.measurements.get(INPUT_SECONDS)
        if outcome is None or alone is None or outcome.examples_per_second is None:
            continue
        micro = trial.instructions.micro_batch_size or trial.batch_size
        seconds[trial.batch_size].append((alone, micro / outcome.examples_per_second, micro))
    waiting = {size: _limit(found) for size, found in sorted(seconds.items()) if _waits(found)}
    if not waiting:
        return ""
    noun = "Batch size" if len(waiting) == 1 else "Batch sizes"
    limits = listing([number(limit) for limit in waiting.values()])
    verb = "waits for its" if len(waiting) == 1 else "wait for their"
    return (
        f"{noun} {listing(list(waiting))} {verb} input: the pipeline alone makes {limits} examples per second, "
        "and training takes little more than that; faster loading would shift the comparison."
    )


def _waits(found: list[tuple[float, float, int]]) -> bool:
    return statistics.median(alone / update for alone, update, _ in found) >= INPUT_SHARE


def _limit(found: list[tuple[float, float, int]]) -> float:
    """Return examples per second: at least those that trainings took in, whatever disturbed the timing."""
    return statistics.median(micro / min(alone, update) for alone, update, micro in found)
