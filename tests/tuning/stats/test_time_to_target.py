import math

import numpy as np
import pytest

from tuning.stats.forecast import ThroughputLine
from tuning.stats.scaling_law import fit_scaling_law, seconds_to_target, time_optimum

LAW = fit_scaling_law({size: 100 * (1 + 256 / size) for size in (16, 64, 256, 1024, 4096)})
LINE = ThroughputLine(0.02, 1e-4, 0.0, 5)


def balanced_line(optimum):
    """A line for which p = q (rho = 1/4) and B* is as asked: t0/c = B_crit."""
    return ThroughputLine(1e-4 * optimum**2 / 256, 1e-4, 0.0, 5)


def test_optimum_is_the_closed_form():
    found = time_optimum(LAW, LINE, largest=10_000)
    assert found.batch_size == pytest.approx(math.sqrt(256 * 200), rel=1e-6)
    p, q = math.sqrt(100 * 0.02), math.sqrt(25_600 * 1e-4)
    assert found.seconds == pytest.approx((p + q) ** 2, rel=1e-6)
    assert found.clipped == ""


def test_optimum_and_flat_zone_agree_with_brute_force():
    found = time_optimum(LAW, LINE, largest=10_000, flatness=0.05)
    sizes = np.arange(1, 10_001)
    seconds = np.array([seconds_to_target(LAW, LINE, size) for size in sizes])
    assert sizes[seconds.argmin()] == pytest.approx(found.batch_size, abs=1)
    flat = sizes[seconds <= 1.05 * found.seconds]
    assert (flat[0], flat[-1]) == pytest.approx(found.flat_zone, abs=1)
    assert found.advised == min(2**k for k in range(14) if flat[0] <= 2**k <= flat[-1])


def test_flat_zone_of_the_balanced_case():
    found = time_optimum(LAW, balanced_line(256.0), largest=10_000)
    assert found.batch_size == pytest.approx(256, rel=1e-6)
    assert found.flat_zone[0] / 256 == pytest.approx(0.642, abs=1e-3)
    assert found.flat_zone[1] / 256 == pytest.approx(1.558, abs=1e-3)


@pytest.mark.parametrize(("factor", "ratio"), [(1, 1.0), (2, 1.125), (0.5, 1.125), (4, 1.5625)])
def test_ratio_of_the_balanced_case(factor, ratio):
    line = balanced_line(256.0)
    measured = seconds_to_target(LAW, line, 256 * factor) / seconds_to_target(LAW, line, 256)
    assert measured == pytest.approx(ratio, rel=1e-6)


def test_without_overhead_the_smallest_and_with_free_examples_the_largest():
    none = time_optimum(LAW, ThroughputLine(0.0, 1e-4, 0.0, 5), smallest=8, largest=1024)
    assert (none.batch_size, none.clipped, none.advised) == (8, "smallest", 8)
    free = time_optimum(LAW, ThroughputLine(0.02, 0.0, 0.0, 5), smallest=8, largest=4096)
    assert (free.batch_size, free.clipped) == (4096, "largest")
    assert free.flat_zone[1] == 4096


def test_clipped_optimum_has_its_flat_zone_inside_the_range():
    found = time_optimum(LAW, LINE, smallest=300, largest=400)
    assert (found.batch_size, found.clipped) == (300, "smallest")
    assert 300 <= found.flat_zone[0] <= found.flat_zone[1] <= 400
    assert found.advised == 300


def test_narrow_zone_without_a_power_of_two_takes_the_nearest():
    found = time_optimum(LAW, balanced_line(190.0), largest=4096, flatness=0.001)
    assert found.flat_zone[0] > 128
    assert found.flat_zone[1] < 256
    assert found.advised == 256


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"smallest": 64, "largest": 8}, "smallest must be at least 1 and not exceed largest; got 64 and 8"),
        ({"smallest": 0, "largest": 8}, "got 0 and 8"),
        ({"largest": 8, "flatness": -0.1}, "flatness must not be negative; got -0.1"),
    ],
)
def test_ranges_that_make_no_sense_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        time_optimum(LAW, LINE, **arguments)
