"""Question: what a staged search is to answer, in plain values."""

from __future__ import annotations

from dataclasses import dataclass

from tuning.stats.rules import FASTEST


@dataclass(frozen=True)
class Question:
    """What a staged search is to answer.

    Args:
        objective: Name of the score.
        maximize: Whether larger is better.
        epochs: Passes over the training set that the reference may take; every confirmed training takes as many.
        n_train: Training examples.
        seeds: Fresh seeds of each confirmed batch size, at least 1; a close race gets up to two more.
        first_seed: Of the search; the seeds after it are the reference's further two, then the fresh ones.
        target: Score to reach; None for what the reference reaches on three seeds at 90 % of its budget.
        rule: How the recommendation picks.
        tolerance: Loss of objective accepted for a cheaper batch size.
    """

    objective: str
    maximize: bool
    epochs: int
    n_train: int
    seeds: int = 3
    first_seed: int = 0
    target: float | None = None
    rule: str = FASTEST
    tolerance: float | None = None
