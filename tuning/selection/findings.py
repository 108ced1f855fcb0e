"""Everything that the words of a recommendation are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tuning.selection.arms import Arm
from tuning.selection.costs import Costs
from tuning.selection.decision import Decision
from tuning.selection.explanation import Explanation
from tuning.selection.verdicts import is_worse


@dataclass(frozen=True)
class Findings:
    """What was asked and what was found.

    Args:
        objective: Name of the score.
        maximize: Whether larger is better.
        rule: The rule that picked.
        tolerance: Accepted loss of objective, or None.
        target: The objective to reach, or None.
        planned_seeds: Seeds that each batch size was meant to have, or None.
        arms: Every batch size, ascending.
        costs: What each costs.
        decision: What was picked, by which comparison.
        explanation: The fits.
    """

    objective: str
    maximize: bool
    rule: str
    tolerance: float | None
    target: float | None
    planned_seeds: int | None
    arms: Sequence[Arm]
    costs: Costs
    decision: Decision
    explanation: Explanation

    @property
    def chosen(self) -> Arm:
        """The picked arm."""
        return self.arm(self.decision.chosen)

    @property
    def others(self) -> list[int]:
        """The batch sizes that the pick was compared with."""
        return [size for size in self.decision.judged.batch_sizes if size != self.decision.chosen]

    @property
    def tied(self) -> list[int]:
        """Those of them that cannot be told from the best."""
        return [size for size in self.others if not is_worse(size, self.decision)]

    def arm(self, batch_size: int) -> Arm:
        """The arm of a batch size."""
        return next(arm for arm in self.arms if arm.batch_size == batch_size)

    def mean(self, batch_size: int) -> float:
        """Mean final score in the objective's own direction."""
        return self.decision.quality.mean(batch_size) * (1 if self.maximize else -1)
