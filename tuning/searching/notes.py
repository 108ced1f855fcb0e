"""The caveats that only the search itself knows, for the recommendation."""

from __future__ import annotations

from collections.abc import Sequence

from tuning.options import SearchOptions
from tuning.probes import ModelDescription
from tuning.searching.outline import tell_noise
from tuning.selection.wording import listing
from tuning.studies.records import TrialRecord
from tuning.studies.staged.plan import StagedPlan
from tuning.studies.staged.question import Question
from tuning.studies.staged.reference import SEEDS, SHARE_OF_BUDGET, Reference


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
