import math

import numpy as np
import pytest
from scipy import stats

from tuning.stats.additive_model import dunnett_point

# Recomputed independently by quadrature for k batch sizes and n = 3, 4, 5 seeds, nu = (k - 1)(n - 1).
TABLE = {
    0.10: {
        3: (1.963, 1.817, 1.751),
        4: (2.025, 1.919, 1.869),
        5: (2.076, 1.991, 1.951),
        6: (2.119, 2.047, 2.013),
        8: (2.187, 2.132, 2.105),
        10: (2.240, 2.195, 2.173),
    },
    0.05: {
        3: (2.610, 2.337, 2.217),
        4: (2.558, 2.372, 2.287),
        5: (2.553, 2.410, 2.343),
        6: (2.562, 2.444, 2.389),
        8: (2.592, 2.503, 2.461),
        10: (2.622, 2.551, 2.517),
    },
}


@pytest.mark.parametrize("alpha", TABLE)
def test_points_match_the_table(alpha):
    for k, expected in TABLE[alpha].items():
        for n, point in zip((3, 4, 5), expected, strict=True):
            assert dunnett_point(k - 1, (k - 1) * (n - 1), 1 - alpha) == pytest.approx(point, abs=6e-4)


@pytest.mark.parametrize("degrees_of_freedom", [1, 4, 30, math.inf])
def test_one_comparison_is_the_t_quantile(degrees_of_freedom):
    expected = stats.t.isf(0.1, degrees_of_freedom) if degrees_of_freedom < math.inf else stats.norm.isf(0.1)
    assert dunnett_point(1, degrees_of_freedom, 0.9) == pytest.approx(expected, abs=1e-5)


def test_simulated_coverage_is_the_level():
    random = np.random.default_rng(0)
    k, n = 5, 3
    draws = random.standard_normal((200_000, k))
    scale = np.sqrt(random.chisquare((k - 1) * (n - 1), 200_000) / ((k - 1) * (n - 1)))
    largest = (draws[:, 1:] - draws[:, :1]).max(axis=1) / math.sqrt(2) / scale
    covered = np.mean(largest <= dunnett_point(k - 1, (k - 1) * (n - 1), 0.9))
    assert covered == pytest.approx(0.9, abs=4 * math.sqrt(0.9 * 0.1 / 200_000))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 4, 0.9), "comparisons must be at least 1; got 0"),
        ((2, 0, 0.9), "degrees_of_freedom must be positive; got 0"),
        ((2, 4, 0.4), "level must lie between 0.5 and 1; got 0.4"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        dunnett_point(*arguments)
