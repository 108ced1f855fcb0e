"""Objective: the metric that decides, and which way is better."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

DIRECTIONS = ("max", "min")


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
