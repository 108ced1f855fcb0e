"""Machine: what a device can do: what fits, how long updates take, how noisy the gradient is there."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tuning.machine.memory import MemoryFindings
from tuning.machine.noise import GradientNoise
from tuning.machine.threads import ThreadChoice
from tuning.machine.throughput import CHOSEN, ThroughputFindings
from tuning.stats.target import Timings

_LEAST_TIMED = 3


@dataclass(frozen=True)
class Machine:
    """What is known of a device; a study keeps it, so that nothing is measured twice.

    Args:
        memory_is_known: Whether it was asked what fits. With no `memory` no batch size could fail to.
        memory: What fits, where that was measured.
        throughput: Seconds per update, measured with nothing else running; None before.
        throughput_again: The same of the user's loop, measured later.
        user_series: The series of `throughput` that the final model will be trained by.
        seconds_to_start: What a batch size costs once: building, compiling, choosing a loop.
        threads: The CPU threads of each batch size, trained alone; None before they were chosen.
        workers: How many trials run beside one another, with one CPU thread each; 1 for none beside another.
        noise: The gradient noise scale along a training; None before.
    """

    memory_is_known: bool = False
    memory: MemoryFindings | None = None
    throughput: ThroughputFindings | None = None
    throughput_again: ThroughputFindings | None = None
    user_series: str = CHOSEN
    seconds_to_start: float = 0.0
    threads: ThreadChoice | None = None
    workers: int = 1
    noise: GradientNoise | None = None

    @property
    def largest_batch_size(self) -> int | None:
        """The largest batch size that fits into memory; None where none could fail to, or nobody measured."""
        return None if self.memory is None else self.memory.largest_batch_size

    def threads_of_trials(self, batch_size: int) -> int | None:
        """Return the CPU threads that trials of a batch size train with; None for all."""
        if self.workers > 1:
            return 1
        return None if self.threads is None else self.threads.threads(batch_size)

    @property
    def user(self) -> Timings | None:
        """Seconds per update of the loop that the final model will be trained with."""
        return self._timings(self.user_series)

    @property
    def trials(self) -> Timings | None:
        """Seconds per update of the loop that trials train with."""
        return self._timings(CHOSEN)

    @property
    def user_least(self) -> Timings | None:
        """Seconds per update of the user's loop, the lesser of two measurements where there are two.

        A plan keeps to `user`, so that a search which is complete stays so.
        """
        first, again = self.user, self.throughput_again
        if first is None or again is None or not again.seconds(self.user_series):
            return first
        return first.least(Timings(again.seconds(self.user_series)))

    def least_seconds(self, batch_size: int, loop: str) -> float | None:
        """Return the least seconds per update that were measured of a loop, "keras" for plain Keras; None for none."""
        rows = (row for found in (self.throughput, self.throughput_again) if found is not None for row in found.rows)
        timed = (row.throughput for row in rows if row.batch_size == batch_size)
        return min((each.seconds_per_update for each in timed if each.loop == loop), default=None)

    @property
    def user_errors(self) -> dict[int, float]:
        """The standard error of ln(seconds per update) that two measurements minutes apart show; empty without them.

            s = sqrt(sum (d - mean d)^2/(2 (m - 1))),   d = ln(first/second) at each of m sizes

        It is that of either measurement; of the lesser, which counts, it is a little less. What slowed all sizes alike
        does not count, since it favours none.
        """
        again = {} if self.throughput_again is None else self.throughput_again.seconds(self.user_series)
        if self.user is None or len(again) < _LEAST_TIMED:
            return {}
        changes = [math.log(self.user.seconds(size) / seconds) for size, seconds in again.items()]
        return dict.fromkeys(sorted(again), statistics.stdev(changes) / math.sqrt(2))

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; `from_json` reads them."""
        parts = {
            "memory": self.memory,
            "throughput": self.throughput,
            "throughput_again": self.throughput_again,
            "threads": self.threads,
            "noise": self.noise,
        }
        plain: dict[str, Any] = {name: part.to_record() for name, part in parts.items() if part is not None}
        plain["memory_is_known"] = self.memory_is_known
        plain["user_series"] = self.user_series
        plain["workers"] = self.workers
        plain["seconds_to_start"] = self.seconds_to_start
        return plain

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Machine:
        """Return what `to_json` wrote; of an empty object a machine of which nothing is known."""
        readers: dict[str, Callable[[Any], Any]] = {
            "memory": MemoryFindings.from_record,
            "throughput": ThroughputFindings.from_record,
            "throughput_again": ThroughputFindings.from_record,
            "threads": ThreadChoice.from_record,
            "noise": GradientNoise.from_record,
        }
        fields: dict[str, Any] = {name: readers.get(name, lambda value: value)(value) for name, value in values.items()}
        return cls(**fields)

    def _timings(self, series: str) -> Timings | None:
        seconds = {} if self.throughput is None else self.throughput.seconds(series)
        return Timings(seconds) if seconds else None
