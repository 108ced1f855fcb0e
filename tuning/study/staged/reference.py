"""The reference training: its learning rate, the target that it sets, and the budgets that follow from it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tuning.stats.results import TrialResult
from tuning.stats.target import crossing, geometric_mean
from tuning.study.records import Budget
from tuning.study.staged.question import Question
from tuning.trial import Goal

SHARE_OF_BUDGET = 0.9
SEEDS = 3
"""Of the reference, where it has to set the target."""
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


def read_reference(trials: Sequence[TrialResult], question: Question) -> Reference:
    """The reference that its best learning rate sets.

    The target is the user's, or else the score that each of its seeds had at 90 % of the budget, interpolated between
    evaluations: one seed alone, the best of several learning rates, would ask for its luck, and near a plateau no
    other training might have that.

    Args:
        trials: Completed trainings of the reference batch size at that rate, with their curves; at least one.
        question: The user's target, if any.
    """
    target = _common_score(trials, maximize=question.maximize) if question.target is None else question.target
    found = [crossing(t.examples_seen, t.objective_curve, target, maximize=question.maximize) for t in trials]
    examples = geometric_mean([each.examples for each in found if each is not None])
    return Reference(trials[0].batch_size, trials[0].learning_rate, target, examples)


def judged_target(reference: Reference, confirmed: Sequence[TrialResult], question: Question) -> float:
    """The target by the time to which an answer is judged: the reference's, or an easier one where that was luck.

    Where no batch size has come to the reference's own target on all its fresh seeds, nearly every time to it is
    censored and says little. The target is then what all fresh trainings of the reference batch size had at 90 % of
    their budgets.

    Args:
        reference: With the target that its seeds set.
        confirmed: The trainings on fresh seeds so far, with their curves.
        question: The user's target, which is never replaced.
    """
    scored: dict[int, list[TrialResult]] = defaultdict(list)
    for trial in confirmed:
        if trial.scored:
            scored[trial.batch_size].append(trial)
    own = scored.get(reference.batch_size, [])
    if question.target is not None or not own:
        return reference.target
    maximize = question.maximize
    if any(all(has_reached([t], reference.target, maximize=maximize) for t in trials) for trials in scored.values()):
        return reference.target
    return _common_score(own, maximize=maximize)


def reference_budget(question: Question) -> Budget:
    """All the epochs, or twice as many at most where there is a target to be reached."""
    if question.target is None:
        return Budget(question.epochs)
    return Budget(math.ceil(SLACK * question.epochs), _goal(question.target, question, least_epochs=1))


def expected_examples(reference: Reference, batch_size: int, critical: float) -> float:
    """E(B) = E_ref*(1 + B/B_crit)/(1 + B_ref/B_crit): the examples to the target, by the law of updates."""
    return reference.examples * (1 + batch_size / critical) / (1 + reference.batch_size / critical)


def search_budget(reference: Reference, batch_size: int, critical: float, question: Question) -> Budget:
    """To the target, and at most kappa = 2 times the examples that should take.

    A trial that seeks a learning rate ends at the target: when it got there is all that is asked of it.
    """
    cap = SLACK * expected_examples(reference, batch_size, critical)
    goal = _goal(reference.target, question, least_epochs=1)
    return Budget(max(1, math.ceil(cap / question.n_train)), goal)


def confirm_budget(reference: Reference, batch_size: int, critical: float, question: Question) -> Budget:
    """As in the search, but no less than all the epochs, so that final scores of one budget can be compared, too."""
    searched = search_budget(reference, batch_size, critical, question)
    goal = _goal(reference.target, question, least_epochs=question.epochs)
    return Budget(max(searched.epochs, question.epochs), goal)


def has_reached(trials: Sequence[TrialResult], target: float, *, maximize: bool) -> bool:
    """Whether any training's curve came to the target."""
    found = (crossing(t.examples_seen, t.objective_curve, target, maximize=maximize) for t in trials if t.scored)
    return any(each is not None and each.reached for each in found)


def _common_score(trials: Sequence[TrialResult], *, maximize: bool) -> float:
    """What all of them had at 90 % of their budgets, to four digits."""
    scores = [np.interp(SHARE_OF_BUDGET * t.examples_seen[-1], t.examples_seen, t.objective_curve) for t in trials]
    return float(f"{(min if maximize else max)(scores):.4g}")


def _goal(target: float, question: Question, *, least_epochs: int) -> Goal:
    return Goal(question.objective, target, question.maximize, least_epochs)
