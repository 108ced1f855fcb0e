import math

import numpy as np
import pytest

from tuning.stats.comparison import compare
from tuning.stats.runs import runs_of, trend_of, unit_scale

SIZES = (8, 16, 32, 64)


def scores(table):
    rows = zip(SIZES, table, strict=True)
    return {size: {s: float(y) for s, y in enumerate(row) if np.isfinite(y)} for size, row in rows}


def test_information_is_that_of_the_two_way_model():
    table = np.random.default_rng(0).normal(size=(4, 3)) + np.arange(3)
    found, plain = runs_of(scores(table), blocked=True).information(0.0), compare(scores(table))
    assert found.residual_degrees == plain.degrees_of_freedom == 6
    assert found.rest / 6 == pytest.approx(plain.sigma**2)
    assert found.fitted - found.fitted.mean() == pytest.approx(table.mean(axis=1) - table.mean())
    assert found.precision == pytest.approx(3 * (np.eye(4) - 1 / 4))


def test_information_with_runs_missing_has_the_variances_of_the_comparison():
    table = np.random.default_rng(1).normal(size=(4, 4))
    table[0, 1] = table[2, 3] = math.nan
    found, plain = runs_of(scores(table), blocked=True).information(0.0), compare(scores(table))
    covariance = np.linalg.pinv(found.precision)
    for i in range(1, 4):
        variance = covariance[0, 0] + covariance[i, i] - 2 * covariance[0, i]
        assert plain.sigma * math.sqrt(variance) == pytest.approx(plain.standard_error(8, SIZES[i]))


def test_the_likelihood_of_the_noise_is_that_of_the_contrasts():
    table = np.random.default_rng(2).normal(size=(4, 3))
    runs = runs_of(scores(table), blocked=True)
    spread = np.exp(0.7 * unit_scale(np.log(np.array(SIZES, dtype=float))))
    contrasts = np.linalg.svd(np.ones((1, 4)))[2][1:]
    covariance = contrasts @ np.diag(spread**2) @ contrasts.T
    truth = np.array([0.3, -0.1, 0.2, 0.5])
    centred = contrasts @ ((table - table.mean()) - truth[:, None])
    expected = -1.5 * np.linalg.slogdet(covariance)[1] - 0.5 * np.sum(centred * np.linalg.solve(covariance, centred))
    found = runs.information(0.7)
    distance = truth - found.fitted
    told = found.volume - 0.5 * (found.rest + distance @ found.precision @ distance)
    other = runs.information(0.0)
    distance = truth - other.fitted
    base = other.volume - 0.5 * (other.rest + distance @ other.precision @ distance)
    reference = -0.5 * np.sum(centred**2)
    assert told - base == pytest.approx(expected - reference)


def test_a_trend_of_the_noise_is_found_and_shrunk():
    random = np.random.default_rng(3)
    steep = random.normal(size=(4, 40)) * np.geomspace(1, 4, 4)[:, None]
    mean, error = trend_of(runs_of(scores(steep), blocked=True))
    assert mean == pytest.approx(math.log(4), abs=3 * error)
    few_mean, few_error = trend_of(runs_of(scores(steep[:, :2]), blocked=True))
    assert abs(few_mean) < math.log(4)
    assert few_error > 2 * error
    level, _ = trend_of(runs_of(scores(random.normal(size=(4, 40))), blocked=True))
    assert abs(level) < 0.4


def test_adding_a_number_to_a_size_moves_its_mean_alone():
    table = np.random.default_rng(4).normal(size=(4, 3))
    runs = runs_of(scores(table), blocked=True)
    moved = runs.shifted({8: 0.0, 16: 0.0, 32: 2.0, 64: 0.0}).information(0.0).fitted - runs.information(0.0).fitted
    assert moved - moved[0] == pytest.approx([0, 0, 2, 0])


def test_one_size_has_no_scale():
    assert unit_scale(np.array([3.0])) == pytest.approx([0.0])
    assert unit_scale(np.log([1.0, 4.0])) == pytest.approx([-0.5, 0.5])
