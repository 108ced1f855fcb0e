"""The caveats that only the search itself knows, for the recommendation."""

from __future__ import annotations

from collections.abc import Sequence

from tuning.machine.facts import NoiseFacts
from tuning.messages import ModelDescription
from tuning.search.options import SearchOptions
from tuning.stats.reasons import duration, listing, number, plural
from tuning.study.records import TrialRecord
from tuning.study.staged.forecast import Forecast
from tuning.study.staged.plan import StagedPlan
from tuning.study.staged.question import Question
from tuning.study.staged.reference import SEEDS, SHARE_OF_BUDGET, Reference


def notes_of(
    description: ModelDescription | None,
    options: SearchOptions,
    records: Sequence[TrialRecord],
    largest_fitting: int | None,
) -> list[str]:
    """One sentence for each caveat that applies.

    Args:
        description: The model, None before it is known.
        options: How the search runs.
        records: Its trials so far.
        largest_fitting: The largest batch size that fits into memory, None if nobody measured.
    """
    notes = []
    if description is not None and description.has_batch_normalization:
        notes.append("The model uses BatchNormalization: the batch size also changes what is normalised.")
    is_beyond = largest_fitting is not None and any(r.setting.batch_size > largest_fitting for r in records)
    if options.accumulate and is_beyond:
        notes.append(
            f"Batch sizes above {largest_fitting} were trained as micro-batches; BatchNormalization, if any, then "
            "normalises over the micro-batch, and their throughput is the micro-batch's."
        )
    if (options.workers or 1) > 1:
        notes.append("Throughput was measured with other trainings beside it; alone it would be higher.")
    return notes


def notes_of_stages(plan: StagedPlan, records: Sequence[TrialRecord], *, loop: str) -> list[str]:
    """What a staged search took for granted, one sentence each.

    Args:
        plan: What it tried, and what it was told.
        records: Its trials so far.
        loop: That was asked for.
    """
    timed = "plain model.fit" if loop in ("auto", "keras") else f"the {loop!r} loop"
    notes = [f"Seconds and throughput are those of {timed}, timed with nothing else running."]
    question, reference = plan.question, plan.reference(records)
    if reference is not None and question.target is None:
        notes.append(_tell_target(question, reference, plan.target(records)))
    if plan.noise is not None and plan.noise.noise_scale is None:
        notes.append(tell_noise(plan.noise))
    if plan.hyperparameters:
        held = listing([f"{name} = {value}" for name, value in plan.hyperparameters.items()])
        notes.append(f"The model's own hyperparameters were held at their defaults: {held}.")
    return notes


def _tell_target(question: Question, reference: Reference, judged: float | None) -> str:
    """Where the target comes from that nobody named."""
    size, share = f"batch size {reference.batch_size}", f"{100 * SHARE_OF_BUDGET:.0f} %"
    if judged is None or judged == reference.target:
        return (
            f"The target, {question.objective} {reference.target:.4g}, is what {size} reached on {SEEDS} seeds by "
            f"{share} of {question.epochs} epochs; name another one by --target."
        )
    return (
        f"What {size} reached on its first {SEEDS} seeds, {question.objective} {reference.target:.4g}, no batch size "
        f"reached on all fresh ones; the target, {judged:.4g}, is what {size} had on these at {share} of the budget."
    )


def tell_plan(found: Forecast, question: Question) -> str:
    """Before the first training."""
    others = len(found.sizes) - 1
    steps = [f"{plural(found.reference, 'training')} at batch size {found.reference_size}"]
    if others:
        steps.append(f"{plural(found.search // others, 'learning rate')} at each of {plural(others, 'other size')}")
    steps.append(f"{plural(question.seeds, 'fresh seed')} for each size")
    more = "more where a best learning rate is at an edge or the race is close"
    return f"Plan: about {found.trainings} trainings in {duration(found.seconds)}: {', then '.join(steps)}; {more}."


def tell_search(found: Forecast, question: Question, reference: Reference, noise: NoiseFacts) -> str:
    """After the reference: what it taught, and which batch sizes come next."""
    rate = "" if reference.learning_rate is None else f" with a learning rate of {number(reference.learning_rate)}"
    target = f"{question.objective} {reference.target:.4g}"
    sizes = ", ".join(map(str, found.sizes))
    ahead = found.search + found.confirm
    return (
        f"Reference: batch size {reference.batch_size}{rate}; the target is {target}. {tell_noise(noise)} "
        f"Batch sizes: {sizes}; about {ahead} trainings in {duration(found.seconds)}."
    )


def tell_noise(noise: NoiseFacts) -> str:
    """The noise scale, or what stands for it."""
    if noise.noise_scale is not None:
        return f"The gradient noise scale is about {number(noise.noise_scale)}."
    bound = "" if noise.at_least is None else f", only that it is at least {number(noise.at_least)}"
    why = noise.reason.rstrip(".")
    return f"The gradient noise scale is not known ({why}{bound}); {number(noise.critical_batch_size)} is assumed."
