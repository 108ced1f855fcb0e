from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from tuning.proposals.proposer import log_expected_improvement, log_improvement_of_standard


@pytest.mark.parametrize(("mean", "deviation"), [(0.4, 0.3), (1.0, 0.5), (-0.5, 1.2), (2.0, 0.1)])
def test_expected_improvement_is_the_integral(mean: float, deviation: float) -> None:
    incumbent = 0.7
    found = log_expected_improvement(np.array([mean]), np.array([deviation**2]), incumbent, noise_variance=0.0)
    integral, _ = quad(
        lambda value: (value - incumbent) * norm.pdf(value, mean, deviation), incumbent, mean + 12 * deviation
    )
    assert math.exp(found[0]) == pytest.approx(integral, rel=1e-6)


def test_the_logarithm_is_right_where_the_improvement_is_beyond_a_float() -> None:
    found = log_improvement_of_standard(np.array([-10.0, -100.0, -1e4]))
    # phi(z) + z * Phi(z) = phi(z) / z**2 * (1 - 3 / z**2 + 15 / z**4 ...) for z far below 0
    z = np.array([10.0, 100.0, 1e4])
    series = -(z**2) / 2 - math.log(2 * math.pi) / 2 - 2 * np.log(z) + np.log1p(-3 / z**2 + 15 / z**4 - 105 / z**6)
    assert found == pytest.approx(series, rel=1e-6)


def test_noise_makes_a_well_known_point_worth_less_than_a_new_one() -> None:
    known, new = log_expected_improvement(np.zeros(2), np.array([0.01, 0.04]), 0.0, noise_variance=0.25)
    plain_known, plain_new = log_expected_improvement(np.zeros(2), np.array([0.01, 0.04]), 0.0, noise_variance=0.0)
    assert new - known > plain_new - plain_known
