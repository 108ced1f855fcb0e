"""ThreadChoice: whether one CPU thread or all of them train a batch size faster, from a few timings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_LEAST_GAIN = 0.1  # what one thread must save of an update's seconds; less is noise


@dataclass(frozen=True)
class ThreadChoice:
    """One thread for small batch sizes, where handing tiny kernels to several costs more than it saves, all for others.

        gain(B) = 0.9 * t_all(B) - t_one(B)

    Between two measured sizes both times are taken to be lines in B, so that the gain is one, too. One thread is chosen
    from the smallest measured size up to where the gain ends: at the first size without one, or at the largest
    measured. Ties and what nobody measured go to all.

    Args:
        seconds: Of an update with one thread and with all, by batch size.
    """

    seconds: Mapping[int, tuple[float, float]] = field(default_factory=dict)

    def threads(self, batch_size: int) -> int | None:
        """1, or None for all."""
        return 1 if batch_size <= self._limit else None

    @property
    def measurements(self) -> dict[str, float]:
        """What the choice was made by, under the names that it is logged by."""
        return {
            f"seconds_per_update_{threads}_{size}": seconds
            for size, pair in self.seconds.items()
            for threads, seconds in zip(("one_thread", "all_threads"), pair, strict=True)
        }

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; `from_json` reads them."""
        return {str(size): list(pair) for size, pair in self.seconds.items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ThreadChoice:
        """What `to_json` wrote."""
        return cls({int(size): (one, every) for size, (one, every) in values.items()})

    @property
    def _limit(self) -> float:
        """The batch size up to which one thread is chosen; 0 for none."""
        reached, gain = 0.0, 0.0
        for size in sorted(self.seconds):
            one, every = self.seconds[size]
            next_gain = (1 - _LEAST_GAIN) * every - one
            if next_gain <= 0:
                return reached + (size - reached) * gain / (gain - next_gain) if gain else 0.0
            reached, gain = size, next_gain
        return reached
