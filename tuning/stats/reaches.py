"""What trainings at different learning rates tell of the target: the runs that reached it, and those that did not."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable

from tuning.objective import Objective
from tuning.stats.rate_profile import Reach
from tuning.stats.target import crossing
from tuning.trial import CONFIRM, Status, Trial

EXPONENT = 0.5
"""Of the rule that the best learning rate roughly follows over the batch size."""
TYPICAL_SIGMA, LEAST_SIGMA, MOST_SIGMA = 0.1, 0.02, 0.3
"""One training's ln(examples to the target) deviates by about a tenth: the median of Zeus's workloads."""


def reaches_of(trials: Iterable[Trial], target: float, objective: Objective) -> dict[int, list[Reach]]:
    """Return how far the trainings at each learning rate came, by batch size, seeds averaged, by rate ascending.

    Fresh seeds are left out: they were trained at the rates taken alone. So are trainings that say nothing of the
    target. One that was stopped, or diverged, has missed it.

    Args:
        trials: Of any batch sizes, alike in the model's own hyperparameters.
        target: The score to reach.
        objective: The metric that decides.
    """
    runs: dict[tuple[int, float], list[tuple[float, bool]]] = defaultdict(list)
    for trial in trials:
        found = None if trial.learning_rate is None or trial.stage == CONFIRM else _came_to(trial, target, objective)
        if found is not None:
            runs[trial.batch_size, trial.learning_rate or math.nan].append(found)
    found_of: dict[int, list[Reach]] = defaultdict(list)
    for (size, rate), seen in sorted(runs.items()):
        mean, reached = statistics.fmean(log for log, _ in seen), all(reached for _, reached in seen)
        found_of[size].append(Reach(above_rule(rate, size), mean, reached, len(seen)))
    return dict(found_of)


def above_rule(learning_rate: float, batch_size: int) -> float:
    """Return ln(rate / sqrt(batch size)), by which the best rates of all batch sizes are roughly alike."""
    return math.log(learning_rate) - EXPONENT * math.log(batch_size)


def run_noise(sigma: float | None) -> float:
    """Return the standard deviation of ln(examples) between seeds within what is likely; a typical one for None."""
    return TYPICAL_SIGMA if sigma is None or not math.isfinite(sigma) else min(MOST_SIGMA, max(LEAST_SIGMA, sigma))


def _came_to(trial: Trial, target: float, objective: Objective) -> tuple[float, bool] | None:
    """Return ln of the examples to the target and whether it was reached; None if the training says nothing of that."""
    if trial.status not in (Status.COMPLETED, Status.PRUNED, Status.DIVERGED):
        return None
    found = crossing(*trial.curve(objective.name), target, objective=objective)
    if found is None or not found.examples > 0:
        return None
    return math.log(found.examples), found.reached and trial.scored
