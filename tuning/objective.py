"""Objective: the metric that decides, and which way is better."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

DIRECTIONS = ("max", "min")

_SHARES = frozenset(("accuracy", "acc", "auc", "precision", "recall", "f1", "iou", "dice"))
_MORE = _SHARES | {"r2", "bleu", "reward"}
_LESS = frozenset(
    ("loss", "error", "mse", "mae", "rmse", "mape", "msle", "crossentropy", "ce", "nll", "perplexity", "wer", "cer")
)


@dataclass(frozen=True)
class Objective:
    """A metric's name and direction. Every comparison of scores asks it, so that no sign is turned twice.

    Args:
        name: The metric's name, as Keras logs it, such as "val_accuracy".
        direction: "max" where larger is better, "min" where smaller is.

    Raises:
        ValueError: If the direction is neither.

    >>> Objective("val_loss", "min").better(0.2, 0.3)
    True
    """

    name: str
    direction: str = "max"

    def __post_init__(self) -> None:
        if self.direction not in DIRECTIONS:
            raise ValueError(
                f"The direction of {self.name!r} must be max or min; got {self.direction!r}. "
                f"Write {self.name}:max or {self.name}:min."
            )

    @property
    def sign(self) -> int:
        """The factor by which a score becomes a gain, of which more is better: 1 for "max", -1 for "min"."""
        return 1 if self.direction == "max" else -1

    def better(self, score: float, than: float) -> bool:
        """Return whether a score is strictly better than another; NaN is never better."""
        return self.sign * score > self.sign * than

    def reaches(self, score: float, target: float) -> bool:
        """Return whether a score is as good as a target; NaN reaches none."""
        return self.sign * score >= self.sign * target

    def best(self, scores: Iterable[float]) -> float:
        """Return the best of some scores, NaN left out; NaN if none is left."""
        gains = [self.sign * score for score in scores if not math.isnan(score)]
        return self.sign * max(gains) if gains else math.nan

    def worst(self, scores: Iterable[float]) -> float:
        """Return the worst of some scores, NaN left out; NaN if none is left."""
        gains = [self.sign * score for score in scores if not math.isnan(score)]
        return self.sign * min(gains) if gains else math.nan


def infer_direction(metric: str) -> str | None:
    """Return "max" or "min" for a name such as `val_accuracy` or `MeanSquaredError`; None if it tells neither or both.

    >>> infer_direction("val_sparse_categorical_accuracy"), infer_direction("loss"), infer_direction("seconds")
    ('max', 'min', None)
    """
    words = _words(metric)
    more, less = not words.isdisjoint(_MORE), not words.isdisjoint(_LESS)
    if more == less:
        return None
    return "max" if more else "min"


def possible_range(metric: str) -> tuple[float, float]:
    """Return between which values a metric lies by its definition, as its name tells; without ends where it does not.

    >>> possible_range("val_accuracy"), possible_range("val_loss")
    ((0.0, 1.0), (-inf, inf))
    """
    return (-math.inf, math.inf) if _words(metric).isdisjoint(_SHARES) else (0.0, 1.0)


def _words(metric: str) -> set[str]:
    return set(re.findall(r"[a-z]+\d*", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", metric).lower()))
