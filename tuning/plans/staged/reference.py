"""The reference training: its learning rate, the target that it sets, and the budgets that follow from it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tuning.instructions import Budget, Goal
from tuning.objective import Objective
from tuning.plans.staged.state import StudyGoal, has_reached
from tuning.stats.target import crossing, geometric_mean
from tuning.trial import Trial

SHARE_OF_BUDGET = 0.9
SEEDS = 3
"""Seeds of the reference, where it has to set the target."""
SLACK = 2.0
"""kappa: a training may take so many times the examples that it is expected to need."""


@dataclass(frozen=True)
class Reference:
    """What the reference batch size has taught.

    Args:
        batch_size: B_ref.
        learning_rate: The best there; None for a schedule.
        target: The score to reach.
        examples: E_ref, after how many it was reached, or all that were trained if it was not; a geometric mean.
    """

    batch_size: int
    learning_rate: float | None
    target: float
    examples: float


def read_reference(trials: Sequence[Trial], goal: StudyGoal) -> Reference:
    """Return the reference that its best learning rate sets.

    The target is the user's, or else the score that each of its seeds had at 90 % of the budget, interpolated between
    evaluations: one seed alone, the best of several learning rates, would ask for its luck, and near a plateau no
    other training might have that.

    Args:
        trials: Completed trainings of the reference batch size at that rate, with their curves; at least one.
        goal: The user's target, if any.
    """
    objective = goal.objective
    target = _common_score(trials, objective) if goal.target is None else goal.target
    found = [crossing(*trial.curve(objective.name), target, objective=objective) for trial in trials]
    examples = geometric_mean([each.examples for each in found if each is not None])
    return Reference(trials[0].batch_size, trials[0].learning_rate, target, examples)


def judged_target(reference: Reference, confirmed: Sequence[Trial], goal: StudyGoal) -> float:
    """Return the target that an answer is judged by: the reference's, or an easier one where that was luck.

    Where no batch size has come to the reference's own target on all its fresh seeds, nearly every time to it is
    censored and says little. The target is then what all fresh trainings of the reference batch size had at 90 % of
    their budgets.

    Args:
        reference: The reference, with the target that its seeds set.
        confirmed: The trainings on fresh seeds so far, with their curves.
        goal: The user's target, which is never replaced.
    """
    scored: dict[int, list[Trial]] = defaultdict(list)
    for trial in confirmed:
        if trial.scored:
            scored[trial.batch_size].append(trial)
    own = scored.get(reference.batch_size, [])
    if goal.target is not None or not own:
        return reference.target
    if any(all(has_reached([t], reference.target, goal.objective) for t in trials) for trials in scored.values()):
        return reference.target
    return _common_score(own, goal.objective)


def reference_budget(goal: StudyGoal) -> Budget:
    """Return all the epochs, or twice as many at most where there is a target to be reached."""
    if goal.target is None:
        return Budget(goal.epochs)
    return Budget(math.ceil(SLACK * goal.epochs), Goal(goal.objective, goal.target))


def expected_examples(reference: Reference, batch_size: int, critical: float) -> float:
    """Return E(B) = E_ref*(1 + B/B_crit)/(1 + B_ref/B_crit): the examples to the target, by the law of updates.

    Source: McCandlish et al., An Empirical Model of Large-Batch Training (2018), equation 2.11.
    """
    return reference.examples * (1 + batch_size / critical) / (1 + reference.batch_size / critical)


def search_budget(reference: Reference, batch_size: int, critical: float, goal: StudyGoal) -> Budget:
    """Return a budget up to the target, and at most kappa = 2 times the examples that this should take.

    A trial that seeks a learning rate ends at the target: when it got there is all that is asked of it.
    """
    cap = SLACK * expected_examples(reference, batch_size, critical)
    return Budget(max(1, math.ceil(cap / goal.n_train)), Goal(goal.objective, reference.target))


def confirm_budget(reference: Reference, batch_size: int, critical: float, goal: StudyGoal) -> Budget:
    """Return the budget of the search, but no less than all epochs; it ends at the target where times alone decide.

    Else all epochs are trained, so that final scores of one budget compare.
    """
    searched = search_budget(reference, batch_size, critical, goal)
    least = 1 if goal.stops_at_target else goal.epochs
    return Budget(max(searched.epochs, goal.epochs), Goal(goal.objective, reference.target, least))


def _common_score(trials: Sequence[Trial], objective: Objective) -> float:
    """Return what all of them had at 90 % of their budgets, to four digits."""
    curves = (trial.curve(objective.name) for trial in trials)
    scores = [np.interp(SHARE_OF_BUDGET * examples[-1], examples, values) for examples, values in curves]
    return float(f"{objective.worst(scores):.4g}")
