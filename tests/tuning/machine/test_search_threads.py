"""When threads are timed, which, and what comes of it; on scripted timings and a clock that they move."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fakes import ScriptedExecutor, device

from tuning.machine.threads import ThreadChoice, choose_threads, could_pay
from tuning.messages import Event, Throughput, ThroughputRequest
from tuning.trial import Status, TrialOutcome

N_TRAIN = 8
UPDATES = {4: 20_000.0, 16: 5_000.0, 64: 1280.0, 256: 320.0, 1024: 80.0}


class Machine:
    """Answers timings by a function of batch size and threads; each takes `timing_s` of its own clock."""

    def __init__(
        self, seconds: Callable[[int, int | None], float | None], loop: str = "device", timing_s: float = 1.0
    ) -> None:
        self.executor = ScriptedExecutor(probes=self.answer)
        self._seconds, self._loop, self._timing_s = seconds, loop, timing_s
        self._now = 0.0

    def answer(self, request: ThroughputRequest) -> Event:
        self._now += self._timing_s
        seconds = self._seconds(request.batch_size, request.threads)
        if seconds is None:
            return TrialOutcome(request.trial_id, Status.FAILED, reason="no")
        return Throughput(request.trial_id, request.batch_size, self._loop, seconds)

    def choose(self, updates: dict[int, float] | None = None) -> ThreadChoice:
        return choose_threads(
            self.executor,
            updates or UPDATES,
            loop="auto",
            n_train=N_TRAIN,
            evaluation_batch_size=32,
            now=lambda: self._now,
        )

    @property
    def asked(self) -> list[tuple[int, int | None]]:
        return [(request.batch_size, request.threads) for request in self.timings]

    @property
    def timings(self) -> list[ThroughputRequest]:
        return [request for request in self.executor.probed if isinstance(request, ThroughputRequest)]


def two_cores(size: int, threads: int | None) -> float:
    """One thread saves 1 ms of handing over and computes at half the speed."""
    return 0.0005 + 40e-6 * size if threads == 1 else 0.0015 + 20e-6 * size


def test_the_smallest_size_and_the_middle_tell_where_one_thread_is_faster() -> None:
    machine = Machine(two_cores)
    choice = machine.choose()
    assert machine.asked == [(4, None), (4, 1), (64, None), (64, 1)]
    assert [size for size in UPDATES if choice.threads(size) == 1] == [4, 16]
    (first, *_) = machine.timings
    assert (first.loop, first.evaluation_batch_size) == ("auto", 32)
    assert first.epochs == 4 * UPDATES[4] / N_TRAIN  # of all trainings of that size, which share the choice of a loop


def test_the_largest_size_is_timed_where_one_thread_may_win_there_too() -> None:
    machine = Machine(lambda _, threads: 0.001 if threads == 1 else 0.003, timing_s=0.1)
    choice = machine.choose()
    assert machine.asked[-2:] == [(1024, None), (1024, 1)]
    assert all(choice.threads(size) == 1 for size in UPDATES)


@pytest.mark.parametrize(
    ("seconds", "loop", "timing_s"),
    [(0.0002, "device", 2.0), (0.0012, "xla", 2.0), (0.0012, "device", 3.0)],
    ids=["updates are fast already", "XLA leaves less to save", "timing takes too long"],
)
def test_one_thread_is_not_timed_where_that_costs_more_than_it_may_save(
    seconds: float, loop: str, timing_s: float
) -> None:
    machine = Machine(lambda *_: seconds, loop, timing_s)
    assert machine.choose() == ThreadChoice()
    assert machine.asked == [(4, None)]
    assert Machine(lambda *_: 0.0012, timing_s=2.0).choose() != ThreadChoice()


def test_larger_sizes_are_timed_only_for_what_they_could_gain() -> None:
    machine = Machine(two_cores, timing_s=2.0)
    choice = machine.choose({4: 20_000.0, 16: 3_000.0, 64: 1_000.0})  # 0.92 ms of 4,000 updates are less than 4 s
    assert [size for size in UPDATES if choice.threads(size) == 1] == [4]
    assert machine.asked == [(4, None), (4, 1)]


def test_where_all_threads_are_faster_nothing_more_is_timed() -> None:
    machine = Machine(lambda _, threads: 0.003 if threads == 1 else 0.002)
    choice = machine.choose()
    assert machine.asked == [(4, None), (4, 1)]
    assert all(choice.threads(size) is None for size in UPDATES)


@pytest.mark.parametrize("failing", [(4, None), (4, 1), (64, None), (64, 1)])
def test_a_timing_that_fails_ends_the_choice_with_what_is_known(failing: tuple[int, int | None]) -> None:
    machine = Machine(lambda size, threads: None if (size, threads) == failing else two_cores(size, threads))
    choice = machine.choose()
    assert machine.asked[-1] == failing
    assert [size for size in UPDATES if choice.threads(size) == 1] == ([4] if failing[0] == 64 else [])


def test_a_single_batch_size_is_timed_once() -> None:
    machine = Machine(two_cores)
    assert machine.choose({8: 50_000.0}).threads(8) == 1
    assert machine.asked == [(8, None), (8, 1)]


@pytest.mark.parametrize(
    ("names", "threads", "updates", "expected"),
    [
        (("cpu:0",), 2, UPDATES, True),
        (("cpu:0",), 1, UPDATES, False),
        (("cpu:0", "cpu:1"), 4, UPDATES, False),
        (("gpu:0",), 2, UPDATES, False),
        (("cpu:0",), 2, {8: 900.0, 128: 56.0}, False),
    ],
)
def test_threads_are_timed_by_long_searches_with_a_cpu_to_themselves(
    names: tuple[str, ...], threads: int, updates: dict[int, float], expected: bool
) -> None:
    assert could_pay([device(name, threads=threads) for name in names], updates) is expected
