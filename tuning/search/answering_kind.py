"""Which kind of device an answer holds for, where trials ran on several, and what to use on the others."""

from __future__ import annotations

from dataclasses import dataclass

from tuning.plans.plan import Judgement
from tuning.run.executor import Executor
from tuning.search.options import SearchOptions
from tuning.search.preparation import Setup
from tuning.search.timing import time_sizes
from tuning.stats.kinds import kinds_of, of_kind
from tuning.stats.recommendation import recommend
from tuning.study.study import Study


@dataclass(frozen=True)
class KindOfAnswer:
    """The kind of device whose seconds decide.

    Args:
        kind: Empty where every trial ran on the kind that was measured.
        notes: A line on it, and one on each other kind.
    """

    kind: str = ""
    notes: tuple[str, ...] = ()


def settle_kind(
    study: Study, setup: Setup, options: SearchOptions, judgement: Judgement, executor: Executor
) -> KindOfAnswer:
    """Have the study measure the kind that its answer holds for, and return what to tell of it and of the others.

    That is the kind that the user has asked for, else the one by whose seconds the plan has decided, else the one on
    which most trials have a score. Each other kind is timed, too, as long as it has a device.

    Args:
        study: Its trials have ended.
        setup: What was trained.
        options: How the search ran.
        judgement: What the plan judges by.
        executor: Idle.
    """
    counts, before = kinds_of(study.records), study.device_kind
    most = max(counts, key=lambda kind: (counts[kind], kind == before), default=before)
    kind = options.device_kind or (most if judgement.throughput is None else before)
    others = [each for each in counts if each not in ("", kind)]
    if not others:
        return KindOfAnswer()
    first = (
        f"The answer holds for {kind}, which ran {counts.get(kind, 0)} of the {sum(counts.values())} trials with a "
        "score: scores are compared across kinds of device, seconds within one."
    )
    lines = []
    for other in others:
        study.measure_on(other)
        lines.append(_line_on(other, counts[other], study, setup, options, judgement, executor))
    study.measure_on(kind)
    return KindOfAnswer(kind, (first, *lines))


def _line_on(
    kind: str,
    n_trials: int,
    study: Study,
    setup: Setup,
    options: SearchOptions,
    judgement: Judgement,
    executor: Executor,
) -> str:
    """Return what would be recommended for another kind of device, which the study measures now."""
    rates = time_sizes(study, setup, options, judgement.target, executor)
    if rates is None:
        return f"{kind} ran {_trials(n_trials)}; nothing was timed there alone."
    found = recommend(
        of_kind([trial for trial in study.records if trial.outcome is not None], kind),
        objective=study.objective,
        rule=options.rule,
        tolerance=options.tolerance,
        target=judgement.target if options.target is None else options.target,
        throughput=rates,
        cost=options.cost,
    )
    size = found.batch_size
    return f"On {kind}, which ran {_trials(n_trials)}: batch size {size}, {rates[size]:,.0f} examples per second."


def _trials(number: int) -> str:
    return "one trial" if number == 1 else f"{number} trials"
