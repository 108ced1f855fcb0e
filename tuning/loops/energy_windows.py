"""EnergyWindows: the energy of one training, read at the boundaries between which its clock runs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tuning.loops.energy import THROTTLE_BITS, EnergyMeter, EnergyRefusal, throttle_names

LEAST_SECONDS = 1.0
"""Shorter windows are not read: a counter moves every 10 to 100 ms, and what it tells of less is mostly chance."""

_HOPELESS_SECONDS = LEAST_SECONDS / 4
"""One window this short says that the epochs are too short: the first one may lack half of an epoch, and no more."""

LEAST_SHARE = 0.5
"""The windows that were read must cover so much of the training seconds, for which they stand."""

_LOOKING_S = 60.0  # a processor of 1000 W would overflow RAPL's usual counter, 262 kJ, in 262 s


@dataclass(frozen=True)
class EnergyUse:
    """What a training consumed; None where that is unknown.

    Args:
        joules: Of the training seconds, without compiling and validation. Idle power is in them.
        mean_watts: The mean power of the windows that were read.
        joules_per_example: Joules of one training example.
        note: Why there are no joules, as a clause in plain words; empty if there are.
        measurements: The power while idle, and what decided about power, by name.
        throttled_by: What slowed a GPU down, with commas between; empty if nothing did or nobody knows.
    """

    joules: float | None = None
    mean_watts: float | None = None
    joules_per_example: float | None = None
    note: str = ""
    measurements: Mapping[str, float] = field(default_factory=dict)
    throttled_by: str = ""


class EnergyWindows:
    """Adds up the energy of a training's windows: one for each epoch, from its first execution to its end.

    The validation between two windows does not count, nor does a first execution that may compile, which comes before
    the first window. What is told for the training is the mean power of the windows times the training seconds, so
    that joules belong to the seconds told, of which those of the first execution are estimated, too:

        joules = mean_watts * seconds,   mean_watts = sum of joules / sum of seconds over windows of 1 s or more

    Where callbacks of the user run between two updates, power is that of the updates and the callbacks together.

    Reading takes milliseconds, in which the device has nothing to do; so that a training whose epochs are too short is
    read no more once that is seen.

    Args:
        meter: Counts.
        idle_watts: The power before the training, told beside it and never subtracted; None if unknown.
        now: The clock, in seconds.
    """

    def __init__(
        self, meter: EnergyMeter, idle_watts: float | None = None, *, now: Callable[[], float] = time.perf_counter
    ) -> None:
        self._meter, self._idle_watts, self._now = meter, idle_watts, now
        self._refusal = ""
        self._is_hopeless = False
        self._begin: tuple[float, float] | None = None
        self._looked_at = 0.0
        self._windows: list[tuple[float, float]] = []
        self._states: list[Mapping[str, float]] = []

    def open(self) -> None:
        """Begin a window, unless one has begun, or none will be long enough."""
        if self._begin is None and not self._refusal and not self._is_hopeless:
            self._begin = self._read()

    def look(self, at: float) -> None:
        """Read the counter in between, now and then, so that it does not overflow unseen."""
        if self._begin is not None and at - self._looked_at >= _LOOKING_S and self._read() is None:
            self._begin = None

    def close(self) -> None:
        """End the window, when the device has finished."""
        begin, self._begin = self._begin, None
        end = None if begin is None else self._read()
        if begin is None or end is None:
            return
        joules, seconds = end[0] - begin[0], end[1] - begin[1]
        if seconds < LEAST_SECONDS:
            self._is_hopeless = seconds < _HOPELESS_SECONDS and not self._windows
            return
        if joules <= 0:
            self._refusal = f"the energy counter did not move in {seconds:.3g} seconds of training"
            return
        self._windows.append((joules, seconds))
        self._states.append(self._meter.state())

    def use(self, seconds: float, examples: int) -> EnergyUse:
        """Return what the training consumed.

        Args:
            seconds: The training seconds told, without compiling and validation.
            examples: The training examples consumed in them.
        """
        read = sum(window for _, window in self._windows)
        idle = {} if self._idle_watts is None else {"idle_watts": self._idle_watts}
        if self._refusal:
            return EnergyUse(note=self._refusal, measurements=idle)
        if not self._windows or not examples or read < LEAST_SHARE * seconds:
            told = f"epochs shorter than {LEAST_SECONDS:g} second are too short for an energy counter"
            return EnergyUse(note=told, measurements=idle)
        watts = sum(joules for joules, _ in self._windows) / read
        bits = [int(state.get(THROTTLE_BITS, 0)) for state in self._states]
        return EnergyUse(
            watts * seconds,
            watts,
            watts * seconds / examples,
            measurements={**idle, **self._mean_state()},
            throttled_by=throttle_names(_all_bits(bits)),
        )

    def _read(self) -> tuple[float, float] | None:
        try:
            joules = self._meter.joules()
        except EnergyRefusal as refusal:
            self._refusal = str(refusal)
            return None
        self._looked_at = self._now()
        return joules, self._looked_at

    def _mean_state(self) -> dict[str, float]:
        names = {name for state in self._states for name in state if name != THROTTLE_BITS}
        return {
            name: statistics.fmean(state[name] for state in self._states if name in state) for name in sorted(names)
        }


def _all_bits(bits: list[int]) -> int:
    found = 0
    for some in bits:
        found |= some
    return found


def measure_idle_watts(
    meter: EnergyMeter,
    *,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.perf_counter,
) -> float | None:
    """Return the mean power in a second of waiting, in watts; None, without waiting, where nothing can be read.

    A counter that stands still tells None as well: no device consumes nothing.

    Args:
        meter: Counts.
        sleep: Waits for so many seconds.
        now: The clock, in seconds.
    """
    try:
        joules, begin = meter.joules(), now()
        sleep(LEAST_SECONDS)
        consumed, seconds = meter.joules() - joules, now() - begin
    except EnergyRefusal:
        return None
    return consumed / seconds if consumed > 0 and seconds > 0 else None
