"""Seconds per update between what was timed."""

from __future__ import annotations

import pytest

from tuning.stats.target import Timings

TIMINGS = Timings({size: 1e-3 + 1e-5 * size for size in (1, 4, 16, 64, 256, 1024)})
UNEVEN = Timings({8: 1.0, 32: 1.0, 128: 4.0, 512: 4.0})


def test_timings_on_a_line_are_read_from_it() -> None:
    assert TIMINGS.line is not None
    assert TIMINGS.seconds(100) == pytest.approx(2e-3)
    assert TIMINGS.examples_per_second([100]) == {100: pytest.approx(50_000)}


def test_other_timings_are_read_between_their_neighbours() -> None:
    assert UNEVEN.line is None
    assert UNEVEN.seconds(64) == pytest.approx(2.0)
    assert UNEVEN.seconds(1) == 1.0
    assert UNEVEN.seconds(1024) == pytest.approx(8.0)


def test_a_larger_batch_never_takes_less_time() -> None:
    disturbed = Timings({8: 1.0, 32: 4.0, 128: 1.0, 512: 8.0})
    assert disturbed.seconds(32) == disturbed.seconds(128) == pytest.approx(2.0)
    assert disturbed.seconds(512) == pytest.approx(8.0)


def test_the_lesser_of_two_timings_counts() -> None:
    assert Timings({8: 1.0, 32: 2.0}).least(Timings({8: 3.0, 32: 1.5, 128: 9.0})) == Timings(
        {8: 1.0, 32: 1.5, 128: 9.0}
    )
