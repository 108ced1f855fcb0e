"""The verdict on each batch size: what decided against it, in a word or two."""

from __future__ import annotations

from tuning.stats.arms import Arm
from tuning.stats.decision import is_worse, unconfirmed
from tuning.stats.findings import Findings
from tuning.trial import Status

RECOMMENDED = "recommended"
TIED = "tied"
SLOWER, MORE_ENERGY = "slower", "more energy"
LOWER, HIGHER = "lower", "higher"
EDGE = "learning rate at edge"
NOT_REACHED = "not reached"
NOT_CONFIRMED = "not confirmed"

_WITHOUT_SCORE = (Status.OUT_OF_MEMORY, Status.DIVERGED, Status.PRUNED)


def verdict_of(arm: Arm, findings: Findings) -> str:
    """Return the verdict on one batch size.

    - `recommended`: the pick.
    - `out_of_memory`, `diverged`, `pruned`, `failed`: how its trials ended, if any of those that judge it broke, or
      none of them gave a score.
    - `not confirmed`: searched, while others also ran on fresh seeds.
    - `not reached`: a target was asked for, and so many seeds missed it that the batch size is not to be picked
      (`Costs.reached`).
    - `learning rate at edge`: its best learning rate lies at an end of those tried, so it may do better than shown.
    - `tied`: the gap to the best is within the noise, or the noise is unknown.
    - `slower`, `more energy`: the time to the target, or the energy, decided, and the gap to the best is beyond the
      noise with 90 % confidence for all at once.
    - `lower`, `higher`: the score decided so, the latter where smaller scores are better.
    """
    decision, size = findings.decision, arm.batch_size
    if size == decision.chosen:
        return RECOMMENDED
    if not arm.scores:
        statuses = {trial.judged_status for trial in arm.all_trials}
        return next((str(s) for s in _WITHOUT_SCORE if s in statuses), str(Status.FAILED))
    if arm.broken:
        return str(arm.broken)
    if size in unconfirmed(findings.arms):
        return NOT_CONFIRMED
    if Status.PRUNED in arm.lost.values():
        return str(Status.PRUNED)
    if size not in decision.quality.batch_sizes:
        return NOT_REACHED
    if arm.edge:
        return EDGE
    return _how_worse(size, findings) if is_worse(size, decision) else TIED


def _how_worse(size: int, findings: Findings) -> str:
    times = findings.decision.times
    if times is not None and size in times.batch_sizes:
        return MORE_ENERGY if findings.costs.is_energy else SLOWER
    return LOWER if findings.objective.sign > 0 else HIGHER
