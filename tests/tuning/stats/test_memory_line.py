import numpy as np
import pytest
from scipy import stats

from tuning.stats.lines import fit_memory, round_down

MIB = 2**20


def test_exact_line_gives_the_largest_size_that_brute_force_finds():
    line = fit_memory({size: 500 * MIB + 2.49e6 * size for size in (8, 16, 32, 64, 128)})
    assert line.intercept_bytes == pytest.approx(500 * MIB, rel=1e-9)
    assert line.bytes_per_example == pytest.approx(2.49e6, rel=1e-9)
    assert line.accepted
    limit = 3 * 2**30
    expected = max(size for size in range(1, 5000) if 500 * MIB + 2.49e6 * size <= 0.9 * limit)
    assert line.largest_batch_size(limit) == expected
    assert line.largest_batch_size(limit, margin=0.0) > expected


def test_flat_small_sizes_do_not_bend_the_line():
    peaks = {size: max(200 * MIB, 100 * MIB + 3e6 * size) for size in (1, 2, 4, 64, 128, 256, 512)}
    line = fit_memory(peaks)
    assert line.sizes == (64, 128, 256, 512)
    assert line.bytes_per_example == pytest.approx(3e6, rel=1e-9)


def test_noisy_line_keeps_its_prediction_interval_free():
    random = np.random.default_rng(2)
    sizes = np.array([16, 32, 64, 128])
    peaks = {int(size): 1e8 + 1e6 * size + random.normal(0, 1e6) for size in sizes}
    line = fit_memory(peaks)
    limit = 1e9
    largest = line.largest_batch_size(limit, margin=0.1)
    regression = stats.linregress(sizes, list(peaks.values()))
    residuals = np.array(list(peaks.values())) - regression.intercept - regression.slope * sizes
    s = np.sqrt(residuals @ residuals / 2)

    def needed(size):
        h = 1 / 4 + (size - sizes.mean()) ** 2 / np.sum((sizes - sizes.mean()) ** 2)
        return regression.intercept + regression.slope * size + stats.t.ppf(0.95, 2) * s * np.sqrt(1 + h)

    assert largest == max(size for size in range(1, 2000) if needed(size) <= 0.9e9)


def test_curved_memory_is_not_accepted_and_keeps_the_wide_margin():
    line = fit_memory({size: 1e6 * size**1.5 for size in (8, 16, 32, 64)})
    assert not line.accepted
    assert line.largest_batch_size(1e12) == line.largest_batch_size(1e12, margin=0.15)


def test_nothing_fits_or_no_limit_follows():
    line = fit_memory({8: 2e9, 16: 2.1e9})
    assert line.largest_batch_size(1e9) == 0
    assert fit_memory({8: 2e9, 16: 2e9, 32: 2e9}).largest_batch_size(1e9) is None


@pytest.mark.parametrize(
    ("size", "rounded"), [(1, 1), (3, 3), (7, 7), (8, 8), (15, 8), (70, 64), (71, 64), (72, 72), (103, 96), (141, 128)]
)
def test_rounding_prefers_a_near_power_of_two_then_a_multiple_of_eight(size, rounded):
    assert round_down(size) == rounded


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fit_memory({8: 1e6}), "two measured batch sizes or more; got 1"),
        (lambda: fit_memory({8: 1e6, 16: -1.0}), "must be positive; got -1.0 at batch size 16"),
        (lambda: round_down(0), "batch_size must be at least 1; got 0"),
    ],
)
def test_measurements_out_of_range_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
