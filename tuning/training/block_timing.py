"""Times a few updates of a training block, within a share of the trial that they are timed for."""

from __future__ import annotations

import time
from collections.abc import Callable

_SHARE_OF_TRIAL = 0.02
_CHUNKS = 3
_CHUNK_SECONDS = 0.1
LEAST_UPDATES = 80
"""Two updates of each of two loops are 5 % of a trial of so many; in a shorter one nothing is timed."""


def seconds_per_update(
    run: Callable[[int], object],
    updates_of_trial: int,
    longest: int,
    now: Callable[[], float] = time.perf_counter,
) -> float:
    """The seconds of one update: the least mean of three chunks, after a warm-up of one.

    The least, because whatever else the machine does can only slow a chunk down. A chunk takes up to 0.1 s, and all
    together at most 2 % of the trial's updates; where that is less than three, one update is timed.

    Args:
        run: Does so many updates and returns when the device has done them.
        updates_of_trial: Of the trial whose loop is being chosen.
        longest: The most updates that `run` can do in one call.
        now: The clock, in seconds.
    """

    def timed(updates: int) -> float:
        begin = now()
        run(updates)
        return (now() - begin) / updates

    run(1)
    first = timed(1)
    affordable = min(longest, int(updates_of_trial * _SHARE_OF_TRIAL / _CHUNKS))
    if affordable == 0:
        return first
    chunk = max(1, min(affordable, int(_CHUNK_SECONDS / max(first, 1e-9))))
    return min(timed(chunk) for _ in range(_CHUNKS))
