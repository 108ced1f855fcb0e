"""A training on a fresh seed, placed among those of the same setting on the seeds of a study."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import scipy

from tuning.objective import Objective, possible_range
from tuning.stats.arms import mean_by_seed
from tuning.trial import Trial

CHANCE = 0.95


def scores_after(trials: Iterable[Trial], epochs: int, *, objective: Objective) -> dict[int, float]:
    """Return the objective after so many epochs, by seed, of the trials that completed.

    A trial that ended sooner, or that went back to the weights of an earlier epoch, counts with its final score.

    Args:
        trials: Those of one setting.
        epochs: At least 1.
        objective: The metric that is read.
    """
    return mean_by_seed([(trial.seed, _score_after(trial, epochs, objective)) for trial in trials if trial.scored])


def _score_after(trial: Trial, epochs: int, objective: Objective) -> float | None:
    went_back = trial.outcome is not None and trial.outcome.weights_epoch is not None
    if went_back or len(trial.reports) < epochs:
        return trial.score
    return trial.reports[epochs - 1].metrics.get(objective.name)


@dataclass(frozen=True)
class FreshScore:
    """A score on a seed that the study did not train, beside the study's own.

    Args:
        score: The fresh one.
        scores: Those of the study's seeds.
        objective: The metric's name.
    """

    score: float
    scores: Sequence[float]
    objective: str

    @property
    def interval(self) -> tuple[float, float] | None:
        """Where a fresh seed falls with a chance of 95 %, `mean ± t s sqrt(1 + 1/n)`; None of a single seed.

        Here n scores have the mean and the standard deviation s, and t is the quantile of Student's distribution with
        n - 1 degrees of freedom. Scores are taken to be normal and independent. The interval ends where the metric
        does, as an accuracy at 1, which takes nothing from the chance; unless a score lies beyond.

        Source: the prediction interval for one further observation; Hahn and Meeker, Statistical Intervals (1991).
        """
        n = len(self.scores)
        if n < 2:
            return None
        quantile = float(scipy.stats.t.ppf((1 + CHANCE) / 2, n - 1))
        half = quantile * statistics.stdev(self.scores) * math.sqrt(1 + 1 / n)
        mean = statistics.fmean(self.scores)
        least, most = possible_range(self.objective)
        if not all(least <= score <= most for score in (*self.scores, self.score)):
            return mean - half, mean + half
        return max(least, mean - half), min(most, mean + half)

    @property
    def is_expected(self) -> bool | None:
        """Whether the score lies in the interval; None if there is none."""
        if self.interval is None:
            return None
        low, high = self.interval
        return low <= self.score <= high

    def tell(self) -> str:
        """Return the comparison in two or three sentences."""
        told = f"Its {self.objective} is {self.score:.4f}."
        if not self.scores:
            return f"{told} The study has no score of this setting to compare it with."
        mean = statistics.fmean(self.scores)
        if self.interval is None:
            return f"{told} The study had {mean:.4f} on its one seed, which says nothing about how far seeds differ."
        low, high = self.interval
        among = f"{told} The study's {len(self.scores)} seeds had {mean:.4f} on average, from {min(self.scores):.4f} to"
        found = "as expected" if self.is_expected else "not as expected"
        place = "inside" if self.is_expected else "outside"
        return (
            f"{among} {max(self.scores):.4f}. That is {found}: it lies {place} the range from {low:.4f} to {high:.4f}, "
            "into which 95 of 100 fresh seeds would fall."
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; null where something is unknown."""
        mean = statistics.fmean(self.scores) if self.scores else None
        interval = None if self.interval is None else list(self.interval)
        return {
            "score": self.score if math.isfinite(self.score) else None,
            "study_mean": mean,
            "study_seeds": len(self.scores),
            "interval": interval,
            "is_expected": self.is_expected,
        }
