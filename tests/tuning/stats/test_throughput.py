import math

import numpy as np
import pytest

from tuning.stats.forecast import fit_throughput, knee


def test_exact_line_is_recovered():
    line = fit_throughput({size: 0.02 + 1e-4 * size for size in (16, 64, 256, 1024, 4096)})
    assert line.seconds_per_update == pytest.approx(0.02, rel=1e-9)
    assert line.seconds_per_example == pytest.approx(1e-4, rel=1e-9)
    assert line.size_with_share(0.9) == pytest.approx(1800, rel=1e-9)
    assert line.size_with_share(0.5) == pytest.approx(200, rel=1e-9)
    assert line.accepted
    assert line.seconds(100) == pytest.approx(0.03)


def test_fit_minimises_the_relative_errors_among_non_negative_lines():
    random = np.random.default_rng(0)
    measured = {size: (0.01 + 2e-4 * size) * random.uniform(0.8, 1.25) for size in (8, 16, 32, 64, 128)}
    line = fit_throughput(measured)

    def loss(t0, c):
        return sum(((t0 + c * size) / seconds - 1) ** 2 for size, seconds in measured.items())

    best = loss(line.seconds_per_update, line.seconds_per_example)
    grid = [loss(t0, c) for t0 in np.linspace(0, 0.03, 121) for c in np.linspace(0, 5e-4, 121)]
    assert best <= min(grid)
    assert best == pytest.approx(min(grid), rel=0.01)


def test_overhead_and_slope_are_never_negative():
    assert fit_throughput({size: 0.01 * size**1.5 for size in (1, 2, 4, 8)}).seconds_per_update == 0
    falling = fit_throughput({8: 0.2, 16: 0.15, 32: 0.1, 64: 0.09})
    assert falling.seconds_per_example == 0
    assert falling.size_with_share() == math.inf


def test_two_regimes_are_refused():
    line = fit_throughput({8: 0.01, 16: 0.01, 32: 0.01, 64: 0.04, 128: 0.08})
    assert line.largest_residual > 0.10
    assert not line.accepted


def test_three_sizes_are_too_few_to_accept():
    assert not fit_throughput({8: 0.01, 16: 0.018, 32: 0.034}).accepted


def test_knee_is_the_smallest_size_with_nine_tenths_of_the_best_rate():
    measured = {8: 8 / 100, 16: 16 / 180, 32: 32 / 271, 64: 64 / 300, 128: 128 / 290}
    assert knee(measured) == 32
    assert knee(measured, share=0.95) == 64


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fit_throughput({8: 0.1}), "needs 2 measured batch sizes or more; got 1"),
        (lambda: fit_throughput({8: 0.1, 16: 0.0}), "must be positive; got 0.0 at batch size 16"),
        (lambda: knee({}), "needs 1 measured batch sizes or more; got 0"),
        (lambda: fit_throughput({8: 0.1, 16: 0.2}).size_with_share(1.0), "share must lie between 0 and 1; got 1.0"),
    ],
)
def test_measurements_out_of_range_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_knee_goes_by_the_best_throughput_even_where_larger_sizes_are_slower():
    assert knee({8: 8 / 140, 16: 16 / 200, 32: 32 / 150}) == 16


@pytest.mark.parametrize(("off", "accepted"), [(1.12, True), (1.25, False)])
def test_a_line_that_misses_a_timing_by_more_than_a_tenth_is_refused(off, accepted):
    line = fit_throughput({size: (0.02 + 1e-4 * size) * (off if size == 64 else 1) for size in (16, 64, 256, 1024)})
    assert (line.largest_residual <= 0.10) is accepted
    assert line.largest_residual < 0.20
    assert line.accepted is accepted
