"""The one-word verdict on each batch size."""

from __future__ import annotations

from collections.abc import Sequence

from tuning.selection.arms import Arm
from tuning.selection.decision import Decision, unconfirmed
from tuning.trial import Status

RECOMMENDED = "recommended"
TIED = "tied"
WORSE = "worse"
EDGE = "learning rate at edge"
NOT_REACHED = "not reached"
NOT_CONFIRMED = "not confirmed"

_WITHOUT_SCORE = (Status.OUT_OF_MEMORY, Status.DIVERGED, Status.PRUNED)


def verdict_of(arm: Arm, arms: Sequence[Arm], decision: Decision) -> str:
    """Return the verdict on one batch size.

    - `recommended`: the pick.
    - `out_of_memory`, `diverged`, `pruned`, `failed`: how its trials ended, if any of those that judge it broke, or
      none of them gave a score.
    - `not confirmed`: searched, while others also ran on fresh seeds.
    - `not reached`: a target was asked for and some seed did not reach it.
    - `learning rate at edge`: its best learning rate lies at an end of those tried, so it may do better than shown.
    - `tied` / `worse`: the gap to the best is within the noise, or beyond it with 90 % confidence for all at once.
      With the noise unknown nothing is called worse.
    """
    size = arm.batch_size
    if size == decision.chosen:
        return RECOMMENDED
    if not arm.scores:
        statuses = {trial.outcome for trial in arm.all_trials}
        return next((str(s) for s in _WITHOUT_SCORE if s in statuses), str(Status.FAILED))
    if arm.broken:
        return str(arm.broken)
    if size in unconfirmed(arms):
        return NOT_CONFIRMED
    if Status.PRUNED in arm.lost.values():
        return str(Status.PRUNED)
    if size not in decision.quality.batch_sizes:
        return NOT_REACHED
    if arm.edge:
        return EDGE
    return WORSE if is_worse(size, decision) else TIED


def is_worse(batch_size: int, decision: Decision) -> bool:
    """Whether the comparison that decided calls it worse than the best, or its score ruled it out before."""
    judged = decision.judged
    return batch_size not in judged.batch_sizes or judged.is_worse(batch_size)
