import math

import numpy as np
import pytest
from scipy import stats

from tuning.stats.additive_model import range_point

# Upper points of the studentized range q(0.05; k, nu) as tables print them.
PUBLISHED = {(3, 10): 3.88, (5, 10): 4.65, (10, 10): 5.60, (4, 20): 3.96, (3, 20): 3.58, (3, math.inf): 3.31}


@pytest.mark.parametrize("case", PUBLISHED)
def test_points_match_published_ones(case):
    count, degrees = case
    assert range_point(count, degrees, 0.95) * math.sqrt(2) == pytest.approx(PUBLISHED[case], abs=0.006)


@pytest.mark.parametrize("degrees_of_freedom", [1, 4, 30, math.inf])
def test_two_means_have_the_two_sided_t_quantile(degrees_of_freedom):
    expected = stats.t.isf(0.05, degrees_of_freedom) if degrees_of_freedom < math.inf else stats.norm.isf(0.05)
    assert range_point(2, degrees_of_freedom, 0.9) == pytest.approx(expected, rel=1e-4)


def test_equal_means_stay_below_it_as_often_as_the_level_says():
    random = np.random.default_rng(0)
    k, n = 5, 3
    draws = random.standard_normal((200_000, k))
    scale = np.sqrt(random.chisquare((k - 1) * (n - 1), 200_000) / ((k - 1) * (n - 1)))
    ranges = np.ptp(draws, axis=1) / math.sqrt(2) / scale
    covered = np.mean(ranges <= range_point(k, (k - 1) * (n - 1), 0.9))
    assert covered == pytest.approx(0.9, abs=4 * math.sqrt(0.9 * 0.1 / 200_000))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1, 4, 0.9), "count must be at least 2; got 1"),
        ((2, 0, 0.9), "degrees_of_freedom must be positive; got 0"),
        ((2, 4, 1.0), "level must lie between 0 and 1; got 1.0"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        range_point(*arguments)
