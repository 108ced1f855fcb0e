"""What others use of a machine meanwhile, and timings that are repeated for it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tuning.loops.bystanders import Moment, read_moment
from tuning.loops.throughput import ChunkClock


def test_others_have_what_the_machine_did_less_what_was_our_own() -> None:
    before, after = Moment(10.0, 1.0, 100.0, 4), Moment(12.0, 2.5, 103.5, 4)
    assert after.others_since(before) == pytest.approx((3.5 - 1.5) / (4 * 2.0))


def test_the_count_of_the_machine_may_lag_behind_our_own_and_nothing_is_less_than_none() -> None:
    assert Moment(2.0, 1.0, 5.9, 2).others_since(Moment(1.0, 0.0, 5.0, 2)) == 0.0


@pytest.mark.parametrize(
    ("after", "before"),
    [
        (Moment(2.0, 1.0, None, 2), Moment(1.0, 0.0, 5.0, 2)),
        (Moment(2.0, 1.0, 6.0, 2), Moment(1.0, 0.0, None, 2)),
        (Moment(1.0, 1.0, 6.0, 2), Moment(1.0, 0.0, 5.0, 2)),
    ],
)
def test_what_cannot_be_told_is_not_told(after: Moment, before: Moment) -> None:
    assert after.others_since(before) is None


def test_work_is_what_is_neither_idle_nor_waiting_for_a_disk(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/stat").write_text("cpu  1 2 3 4000 5000 6 7 8 9 10\ncpu0 0\ncpu1 0\ncpu2 0\nintr 5\n")
    found = read_moment(tmp_path, lambda: 7.0)
    assert (found.wall_s, found.busy_s, found.cores) == (7.0, 27 / os.sysconf("SC_CLK_TCK"), 3)
    assert read_moment(tmp_path / "nowhere").busy_s is None


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="needs Linux")
def test_a_busy_neighbour_is_seen() -> None:
    hog = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        before = read_moment()
        time.sleep(0.5)
        share = read_moment().others_since(before)
    finally:
        hog.kill()
        hog.wait()
    assert share is not None
    assert share > 0.05


def timed(shares: list[float]) -> tuple[ChunkClock, list[float]]:
    """A clock that has timed a training while others took such shares of the machine, and when each chunk ended.

    The chunks of the n-th timing take n seconds of an update each.
    """
    moments = iter(
        [Moment(*at) for n, share in enumerate(shares) for at in ((n, 0.0, 0.0, 1), (n + 1, 0.25, share + 0.25, 1))]
    )
    ended = [0.0]
    clock = ChunkClock(2, 0.5, now=lambda: ended[-1], read=lambda: next(moments))
    while not clock.is_complete:
        clock.begin()
        clock.count(1)
        ended.append(ended[-1] + 1 + (len(ended) - 1) // 2)
        clock.close()
    return clock, ended[1:]


def test_chunks_that_nobody_disturbed_are_timed_once() -> None:
    clock, ended = timed([0.05])
    assert len(ended) == 2
    found = clock.least_disturbed
    assert found.seconds_per_update == (1.0, 1.0)
    assert (found.wall_s, found.cpu_s, found.others_share) == (1.0, 0.25, pytest.approx(0.05))
    assert not found.is_disturbed


def test_chunks_that_others_disturbed_are_timed_again_until_nobody_does() -> None:
    clock, ended = timed([0.5, 0.01])
    assert len(ended) == 4
    assert clock.least_disturbed.seconds_per_update == (2.0, 2.0)


def test_of_timings_that_all_were_disturbed_the_least_disturbed_counts_and_is_told() -> None:
    clock, ended = timed([0.5, 0.2, 0.4])
    assert len(ended) == 6
    assert clock.least_disturbed.seconds_per_update == (2.0, 2.0)
    assert clock.least_disturbed.is_disturbed


def test_where_nobody_tells_of_others_nothing_is_repeated() -> None:
    clock = ChunkClock(1, 0.5, now=lambda: 1.0, read=lambda: Moment(1.0, 1.0, None, 1))
    clock.begin()
    clock.count(1)
    clock.close()
    assert clock.is_complete
    assert clock.least_disturbed.others_share is None
