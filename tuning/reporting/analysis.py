"""The trials of a report grouped and fitted at the target that its figures show."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from tuning.reporting.evidence import Evidence
from tuning.selection.arms import Arm, group_into_arms
from tuning.selection.costs import Costs, arm_costs
from tuning.selection.explanation import Explanation, explain

_SHARE = 2 / 3  # of the batch sizes: enough of them for the law, and not the worst


@dataclass(frozen=True)
class Reached:
    """What it takes to reach a score.

    Args:
        target: The score; None if no training left a curve.
        sizes: The batch sizes that it was taken from; empty if it was asked for.
        costs: Of reaching it.
        explanation: The fits.
    """

    target: float | None
    sizes: Sequence[int]
    costs: Costs
    explanation: Explanation


@dataclass(frozen=True)
class Analysis:
    """What the figures are drawn from.

    Args:
        arms: Every batch size at the setting that the recommendation judges it by.
        close: At the target or, if none was asked for, at the score that every training of the batch sizes which the
            rule chose from reached at some time. It is known only afterwards, so it explains and does not decide.
        wide: The same or, if none was asked for, at the score of the better two thirds of the batch sizes: a law of
            updates needs several batch sizes that reach one score.
    """

    arms: Sequence[Arm]
    close: Reached
    wide: Reached


def analyse(evidence: Evidence) -> Analysis:
    """Group the trials as the recommendation did, and fit what can be fitted."""
    maximize, asked = evidence.maximize, evidence.target
    arms = group_into_arms(evidence.results, maximize=maximize, target=asked)

    def reached(sizes: Sequence[int]) -> Reached:
        target = common_score(arms, sizes, maximize=maximize) if asked is None else asked
        costs = arm_costs(arms, maximize=maximize, target=target, throughput=evidence.throughput)
        return Reached(target, () if asked is not None else sizes, costs, explain(arms, costs, {}, maximize=maximize))

    return Analysis(arms, reached(evidence.answer.recommendation.eligible), reached(_better_part(arms, maximize)))


def _better_part(arms: Sequence[Arm], maximize: bool) -> list[int]:
    """The batch sizes with the better scores in common, ascending; those without a curve are not among them."""
    scores = {arm.batch_size: common_score(arms, [arm.batch_size], maximize=maximize) for arm in arms if not arm.broken}
    known = {size: score for size, score in scores.items() if score is not None}
    ranked = sorted(known, key=lambda size: known[size], reverse=maximize)
    return sorted(ranked[: math.ceil(_SHARE * len(ranked))])


def common_score(arms: Sequence[Arm], sizes: Collection[int], *, maximize: bool) -> float | None:
    """The best score that every judging training of these batch sizes reached; None if one left no curve.

    Args:
        arms: Every batch size.
        sizes: Those that count.
        maximize: Whether larger is better.
    """
    better, worse = (max, min) if maximize else (min, max)
    judging = [trial for arm in arms if arm.batch_size in sizes for trial in arm.trials if trial.scored]
    curves = [[value for value in trial.objective_curve if math.isfinite(value)] for trial in judging]
    return worse(map(better, curves)) if curves and all(curves) else None
