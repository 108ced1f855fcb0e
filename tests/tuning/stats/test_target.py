import math

import pytest
from selection_helpers import MAX, MIN

from tuning.stats.target import Crossing, crossing, geometric_mean


def test_score_is_interpolated_between_the_last_miss_and_the_first_hit():
    found = crossing([100, 200, 300], [0.5, 0.8, 0.95], 0.9, objective=MAX)
    assert found == Crossing(True, pytest.approx(200 + 100 * 0.1 / 0.15), 200, 300)


def test_loss_is_interpolated_in_its_logarithm():
    found = crossing([0, 100], [2.0, 0.5], 1.0, objective=MIN)
    assert found == Crossing(True, pytest.approx(50), 0, 100)


def test_negative_minimised_score_is_interpolated_plainly():
    assert crossing([0, 100], [1.0, -1.0], 0.0, objective=MIN).examples == pytest.approx(50)


def test_first_of_several_crossings_counts():
    assert crossing([1, 2, 3, 4], [0.1, 0.9, 0.2, 0.9], 0.9, objective=MAX).high == 2


def test_never_reached_is_censored_at_the_last_evaluation():
    assert crossing([100, 200], [0.1, 0.2], 0.9, objective=MAX) == Crossing(False, 200, 200, None)


def test_first_evaluation_that_reaches_is_an_upper_bound():
    assert crossing([100, 200], [0.95, 0.96], 0.9, objective=MAX) == Crossing(True, 100, 0, 100)


def test_not_a_number_is_a_miss():
    assert crossing([100, 200], [math.nan, 0.95], 0.9, objective=MAX) == Crossing(True, 200, 100, 200)
    assert not crossing([100], [math.nan], 0.9, objective=MIN).reached


def test_no_evaluation_tells_nothing():
    assert crossing([], [], 0.9, objective=MAX) is None


def test_curves_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="one objective per evaluation; got 1 and 2"):
        crossing([1], [0.1, 0.2], 0.5, objective=MAX)


def test_geometric_mean_of_times():
    assert geometric_mean([1.0, 100.0]) == pytest.approx(10)
    with pytest.raises(ValueError, match=r"needs positive values; got \[1.0, 0.0\]"):
        geometric_mean([1.0, 0.0])
