"""Deadline: when a search stops starting trials."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Deadline:
    """A moment on a clock.

    Args:
        at: In seconds of the clock.
        now: The clock.
    """

    at: float = math.inf
    now: Callable[[], float] = time.monotonic

    @classmethod
    def after(cls, seconds: float | None) -> Deadline:
        """So many seconds from now; None for never."""
        return cls() if seconds is None else cls(time.monotonic() + seconds)

    @property
    def is_past(self) -> bool:
        """Whether it has come."""
        return self.now() >= self.at
