from __future__ import annotations

import numpy as np
import pytest

from tuning.proposals.warping import warp


def test_the_order_is_kept_and_good_values_keep_their_distances() -> None:
    values = np.array([0.1, 0.88, 0.9, 0.91, 0.93, 0.5, 0.95])
    warped = warp(values)
    assert np.argsort(warped).tolist() == np.argsort(values).tolist()
    good = [2, 3, 4, 6]
    assert np.diff(warped[good]) / np.diff(values[good]) == pytest.approx(np.diff(warped)[2] / 0.01, rel=1e-6)
    assert (warped.mean(), warped.std()) == pytest.approx((0.0, 1.0))


def test_how_bad_a_failure_is_does_not_matter() -> None:
    assert warp(np.array([-1e9, 0.8, 0.9, 1.0])) == pytest.approx(warp(np.array([0.1, 0.8, 0.9, 1.0])))


def test_equal_values_stay_equal() -> None:
    assert warp(np.full(5, 0.3)).tolist() == [0.0] * 5


def test_values_at_the_median_keep_their_distance_from_better_ones() -> None:
    warped = warp(np.array([1.0, 1.0, 1.0, 2.0, 3.0]))
    assert warped[3] - warped[0] == pytest.approx(warped[4] - warped[3])
