import numpy as np
import pytest
from scipy import stats

from tuning.stats.forecast import fit_memory

MIB = 2**20


def test_exact_line_is_recovered_and_needs_no_margin():
    line = fit_memory({size: 500 * MIB + 2.49e6 * size for size in (8, 16, 32, 64, 128)})
    assert line.intercept_bytes == pytest.approx(500 * MIB, rel=1e-9)
    assert line.bytes_per_example == pytest.approx(2.49e6, rel=1e-9)
    assert line.accepted
    assert line.bytes(1000) == pytest.approx(500 * MIB + 2.49e9, rel=1e-9)
    assert line.prediction_margin(1000) == pytest.approx(0, abs=1)


def test_flat_small_sizes_do_not_bend_the_line():
    peaks = {size: max(200 * MIB, 100 * MIB + 3e6 * size) for size in (1, 2, 4, 64, 128, 256, 512)}
    line = fit_memory(peaks)
    assert line.sizes == (64, 128, 256, 512)
    assert line.bytes_per_example == pytest.approx(3e6, rel=1e-9)


def test_noisy_line_has_the_margin_of_a_prediction_interval():
    random = np.random.default_rng(2)
    sizes = np.array([16, 32, 64, 128])
    peaks = {int(size): 1e8 + 1e6 * size + random.normal(0, 1e6) for size in sizes}
    line = fit_memory(peaks)
    regression = stats.linregress(sizes, list(peaks.values()))
    residuals = np.array(list(peaks.values())) - regression.intercept - regression.slope * sizes
    s = np.sqrt(residuals @ residuals / 2)

    def needed(size):
        h = 1 / 4 + (size - sizes.mean()) ** 2 / np.sum((sizes - sizes.mean()) ** 2)
        return regression.intercept + regression.slope * size + stats.t.ppf(0.95, 2) * s * np.sqrt(1 + h)

    for size in (1, 60, 900):
        assert line.bytes(size) + line.prediction_margin(size) == pytest.approx(needed(size), rel=1e-9)


def test_curved_memory_is_not_accepted():
    line = fit_memory({size: 1e6 * size**1.5 for size in (8, 16, 32, 64)})
    assert not line.accepted


def test_two_sizes_leave_no_residual_to_judge_by():
    line = fit_memory({8: 2e9, 16: 2.1e9})
    assert (line.standard_deviation, line.prediction_margin(1000)) == (0.0, 0.0)
    assert not line.accepted


def test_a_peak_off_by_three_percent_is_not_accepted():
    sizes = (8, 16, 32, 64)
    assert not fit_memory({size: 1e9 * (1.05 if size == 16 else 1) for size in sizes}).accepted
    assert fit_memory({size: 1e9 * (1.02 if size == 16 else 1) for size in sizes}).accepted


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fit_memory({8: 1e6}), "two measured batch sizes or more; got 1"),
        (lambda: fit_memory({8: 1e6, 16: -1.0}), "must be positive; got -1.0 at batch size 16"),
    ],
)
def test_measurements_out_of_range_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
