"""The next step: the trainings that would settle what a recommendation leaves open, as numbers."""

from __future__ import annotations

from dataclasses import dataclass

from tuning.stats.caveats import ENOUGH_SEEDS, outermost_side
from tuning.stats.findings import Findings
from tuning.stats.reasons import MOST_SEEDS

_FURTHER = 2  # batch sizes, or learning rates, beyond an end
_LEAST_RATIO = 2.0


@dataclass(frozen=True)
class NextStep:
    """Trainings to add to a study.

    Args:
        settles: What they would settle: "noise", "smaller sizes", "larger sizes", "learning rate" or "tie".
        batch_sizes: The batch sizes to train, ascending; empty for those of the study.
        learning_rates: The learning rates to train; empty for those of the study.
        seeds: Trainings per setting; None for those of the study.
    """

    settles: str
    batch_sizes: tuple[int, ...] = ()
    learning_rates: tuple[float, ...] = ()
    seeds: int | None = None


def next_step_of(findings: Findings) -> NextStep | None:
    """Return what would tell most: repeats where there are none, then what lies beyond an end, then further seeds.

    None where nothing is open, or no number of trainings within reason would settle it.
    """
    if not findings.others:
        return None
    if findings.decision.judged.sigma is None:
        return NextStep("noise", seeds=ENOUGH_SEEDS)
    return _beyond_the_sizes(findings) or _beyond_the_rates(findings) or _more_seeds(findings)


def _beyond_the_sizes(findings: Findings) -> NextStep | None:
    """Return batch sizes beyond the pick, if it is the outermost, in the ratio of the last two."""
    side = outermost_side(findings)
    if not side:
        return None
    sizes = [arm.batch_size for arm in findings.arms]
    if side == "smaller":
        ratio = max(_LEAST_RATIO, sizes[1] / sizes[0])
        found = {max(1, round(sizes[0] / ratio**step)) for step in range(1, _FURTHER + 1)}
    else:
        ratio = max(_LEAST_RATIO, sizes[-1] / sizes[-2])
        epochs = [trial.reports[0].examples_seen for trial in findings.chosen.trials if trial.reports]
        n_train = max(epochs, default=sizes[-1] * round(ratio**_FURTHER))
        found = {round(sizes[-1] * ratio**step) for step in range(1, _FURTHER + 1)}
        found = {min(size, n_train) for size in found}
    return NextStep(f"{side} sizes", batch_sizes=tuple(sorted(found)))


def _beyond_the_rates(findings: Findings) -> NextStep | None:
    """Return learning rates beyond the pick's, if that is at an end, for all batch sizes whose own is at this end."""
    end = findings.chosen.edge
    if end is None:
        return None
    rates = findings.chosen.learning_rates
    inner, outer = (rates[1], rates[0]) if end == "lowest" else (rates[-2], rates[-1])
    further = tuple(sorted(float(f"{outer * (outer / inner) ** step:.3g}") for step in range(1, _FURTHER + 1)))
    sizes = tuple(arm.batch_size for arm in findings.arms if arm.scores and arm.edge == end)
    return NextStep("learning rate", sizes, further)


def _more_seeds(findings: Findings) -> NextStep | None:
    """Return the seeds that would begin to separate the pick from what it cannot be told from."""
    needed = findings.seeds_to_separate if findings.tied else None
    if needed is None or needed > MOST_SEEDS:
        return None
    sizes = sorted({findings.decision.chosen, findings.decision.judged.best, *findings.tied})
    return NextStep("tie", tuple(sizes), seeds=needed)
