"""What each rule picks at every tolerance: a pick changes only where another batch size comes within it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuning.objective import Objective
from tuning.stats.arms import group_into_arms
from tuning.stats.costs import arm_costs
from tuning.stats.decision import Decision, decide
from tuning.stats.rules import RULES, TIME
from tuning.trial import Trial


@dataclass(frozen=True)
class Pick:
    """What a rule picks from a tolerance on, up to that of the next pick.

    Args:
        tolerance: The least one, in the units of the objective; None where none is given.
        batch_size: The pick.
        eligible: The batch sizes that it was taken from, ascending.
    """

    tolerance: float | None
    batch_size: int
    eligible: tuple[int, ...]


def picks_by_tolerance(
    trials: Sequence[Trial],
    *,
    objective: Objective,
    target: float | None = None,
    throughput: Mapping[int, float] | None = None,
    throughput_errors: Mapping[int, float] | None = None,
    cost: str = TIME,
) -> dict[str, tuple[Pick, ...]]:
    """Return the picks of every rule, by rising tolerance, the first of them without one.

    They are those of `recommendation.recommend`, which decides by the same arms and costs. A tolerance is compared with
    gaps to the best mean only, so that each gap is a place where the pick may change, and there is no other.

    Args:
        trials: The trials; the further arguments are those of `recommend`.
        objective: The metric that decides.
        target: The objective to reach.
        throughput: Examples per second by batch size.
        throughput_errors: The standard error of ln of that.
        cost: What decides between batch sizes that are good enough.
    """
    arms = group_into_arms(trials, objective=objective, target=target)
    costs = arm_costs(
        arms, objective=objective, target=target, throughput=throughput, cost=cost, throughput_errors=throughput_errors
    )
    asked: dict[str, Any] = {"objective": objective, "target": target}
    found = {}
    for rule in RULES:
        first = decide(arms, costs, rule=rule, tolerance=None, **asked)
        gaps = sorted({0.0, *(first.quality.gap(size) for size in first.quality.batch_sizes)})
        decisions: list[tuple[float | None, Decision]] = [(None, first)]
        decisions += [(gap, decide(arms, costs, rule=rule, tolerance=gap, **asked)) for gap in gaps]
        picks = [Pick(tolerance, made.chosen, made.eligible) for tolerance, made in decisions]
        found[rule] = tuple(_changes(picks))
    return found


def _changes(picks: Sequence[Pick]) -> list[Pick]:
    """Return the picks that differ from the one before; the first two are kept, for no tolerance is not one of 0."""
    same = itertools.pairwise(picks[1:])
    return [*picks[:2], *(pick for before, pick in same if pick.eligible != before.eligible)]
