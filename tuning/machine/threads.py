"""ThreadChoice: whether one CPU thread or all of them train a batch size faster, from a few timings."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tuning.messages import Measurement, Throughput, ThroughputRequest
from tuning.run.asking import ask
from tuning.run.executor import Device, Executor

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

    def pays_beside(self, places: int, updates: Mapping[int, float]) -> bool:
        """Return whether so many trainings of one thread each do the work sooner than one after another.

            1.1 * sum u(B)*t_one(B)/places < sum u(B)*min(t_one(B), t_all(B)),   u(B) updates at batch size B

        Two threads seldom do twice the work of one: handing over costs, and a small batch leaves them idle. Between two
        measured sizes times are lines in B; beyond the largest the throughput stays what it is there.

        Args:
            places: Trainings beside one another.
            updates: Updates of all the search's trials, by batch size.
        """
        if not self.seconds:
            return False
        alone, beside = 0.0, 0.0
        for size, count in updates.items():
            one, every = self._seconds_at(size)
            alone += count * min(one, every)
            beside += count * one / places
        return _BESIDE_GAIN * beside < alone

    def _seconds_at(self, batch_size: int) -> tuple[float, float]:
        sizes = sorted(self.seconds)
        beyond = max(1.0, batch_size / sizes[-1])
        one, every = (
            beyond * float(np.interp(batch_size, sizes, [self.seconds[size][index] for size in sizes]))
            for index in (0, 1)
        )
        return one, every

    @property
    def measurement(self) -> Measurement:
        """What the choice was made by, as the record shows it."""
        return Measurement(
            "threads",
            series=tuple(
                (f"{name}_{threads}", value, size)
                for size, pair in self.seconds.items()
                for threads, seconds in zip(("one_thread", "all_threads"), pair, strict=True)
                for name, value in (("seconds_per_update", seconds), ("examples_per_second", size / seconds))
            ),
        )

    def to_record(self) -> dict[str, Any]:
        """Plain JSON values; `from_record` reads them."""
        return {str(size): list(pair) for size, pair in self.seconds.items()}

    @classmethod
    def from_record(cls, values: Mapping[str, Any]) -> ThreadChoice:
        """What `to_record` wrote."""
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


LEAST_WORK_S = 10.0
"""The work ahead from which on a second worker pays, which takes half of that to start."""
_BESIDE_GAIN = 1.1  # what trainings beside one another must do of what they do one after another; less is noise
_CHUNKS, _CHUNK_S = 3, 0.1
# What one thread is hoped to save. Measured on 2 cores at batch size 4: of an MLP's update under XLA 0.07 ms of 0.2, of
# an LSTM's 0.25 of 0.65, of a CNN's without XLA 0.9 of 1.4.
_HOPED_SHARE = {"xla": 0.35}
_HOPED_SHARE_ELSE = 0.5
_MOST_HOPED_S = 1e-3
_LEAST_UPDATES = 7000  # 1 ms saved of each is what a second worker and the timings cost
_LEAST_UPDATES_BESIDE = 500  # fewer last less than a second worker's start, unless one takes longer than 20 ms
_START_S = 4.5  # of a second worker
_TIMINGS_LOST = 1.5  # in terms of the first, whose program is made from nothing; the trials use what they can again


def could_pay(devices: Sequence[Device], updates: Mapping[int, float], places: int = 1) -> bool:
    """Return whether a search has a CPU of several cores to itself, and so many updates that a choice may save time.

    Args:
        devices: The devices of the search.
        updates: Updates of all its trials, by batch size.
        places: How many trials could run beside one another.
    """
    is_alone = len(devices) == 1 and not devices[0].is_gpu and devices[0].cards == 1 and devices[0].threads > 1
    return is_alone and sum(updates.values()) >= (_LEAST_UPDATES if places == 1 else _LEAST_UPDATES_BESIDE)


def choose_threads(
    executor: Executor,
    updates: Mapping[int, float],
    *,
    loop: str,
    n_train: int,
    evaluation_batch_size: int = 256,
    places: int = 1,
    now: Callable[[], float] = time.monotonic,
) -> ThreadChoice:
    """Time all threads against one at the smallest batch size, then in the middle, then at the largest.

    Ends after the first timing, whose program the trials use again, unless that lets hope for twice what a second
    worker and the other timings cost. Larger sizes are timed only while one thread could save more there than two such
    timings take. Nothing is chosen where a size cannot be timed: its trials will tell why.

    The build function's hyperparameters are at their defaults.

    Args:
        executor: Idle.
        updates: Updates of all the search's trials, by batch size, ascending.
        loop: The loop of the trials.
        n_train: Training examples.
        evaluation_batch_size: Examples per validation step.
        places: How many trials could run beside one another with one thread each, which one timing tells whether to do.
        now: The clock, in seconds.
    """
    sizes, found = list(updates), dict[int, tuple[float, float]]()
    for size in dict.fromkeys((sizes[0], sizes[(len(sizes) - 1) // 2], sizes[-1])):
        request = ThroughputRequest(
            f"threads-all-{size}",
            size,
            loop=loop,
            epochs=max(1, round(updates[size] * size / n_train)),  # of all trainings together
            evaluation_batch_size=evaluation_batch_size,
            chunks=_CHUNKS,
            chunk_seconds=_CHUNK_S,
            times_input=False,
        )
        begin = now()
        every = _timed(executor, request)
        took = now() - begin
        if every is None or not (found or _is_worth_more(every, sum(updates.values()), took, places)):
            break
        one = _timed(executor, replace(request, trial_id=f"threads-1-{size}", threads=1))
        if one is None:
            break
        found[size] = (one.seconds_per_update, every.seconds_per_update)
        gain = every.seconds_per_update - one.seconds_per_update
        if gain * sum(updates[other] for other in sizes if other > size) <= 2 * took:
            break
    return ThreadChoice(found)


def _is_worth_more(every: Throughput, updates: float, seconds: float, places: int) -> bool:
    """Return whether one thread may save twice what finding out costs, in so many updates and after so many seconds.

    Where trials could run beside one another it does from some seconds of work on, however little an update saves.
    """
    if places > 1 and updates * every.seconds_per_update > LEAST_WORK_S:
        return True
    share = _HOPED_SHARE.get(every.loop, _HOPED_SHARE_ELSE)
    hoped = min(share * every.seconds_per_update, _MOST_HOPED_S)
    return hoped * updates > 2 * (_START_S + _TIMINGS_LOST * seconds)


def _timed(executor: Executor, request: ThroughputRequest) -> Throughput | None:
    answer = ask(executor, request)
    return answer if isinstance(answer, Throughput) else None
