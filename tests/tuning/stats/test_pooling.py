import math

import numpy as np
import pytest
from scipy import stats

from tuning.stats import pooling
from tuning.stats.comparison import compare
from tuning.stats.pooling import Expectation, Noise, Pooled, pool

SIZES = (8, 16, 32, 64, 128, 256)


def study(truth, n, random):
    table = np.asarray(truth)[:, None] + random.normal(0, 1, (len(truth), n)) + random.normal(0, 3, n)
    return compare({size: dict(enumerate(row.tolist())) for size, row in zip(SIZES, table, strict=False)})


def test_one_prior_is_conditioned_exactly(monkeypatch):
    for name, value in (("LENGTHS", (2.0,)), ("SMOOTH", (1.2,)), ("OWN", (0.5,)), ("NULL_WEIGHT", 1e-300)):
        monkeypatch.setattr(pooling, name, value)
    measured = study([0.0, 1.0, 2.0, 2.0, 1.0, -1.0], 3, np.random.default_rng(0))
    found = pool(measured, [Expectation(0.4 * np.log(SIZES)[None, :], 0.7)])
    # Brute force: the joint normal of true and measured means, with a level of variance 1e7.
    x = np.log(SIZES)
    c = x - x.mean()
    r = math.sqrt(3) * np.abs(x[:, None] - x) / 2.0
    truth = 1.2**2 * (1 + r) * np.exp(-r) + 0.5**2 * np.eye(6) + 0.7**2 * np.outer(c, c) + 1e7
    noise = np.eye(6) / 3
    expected = 0.4 * x + truth @ np.linalg.solve(truth + noise, np.array(measured.means) - 0.4 * x)
    assert found.means == pytest.approx(expected, abs=1e-5)
    posterior = truth - truth @ np.linalg.solve(truth + noise, truth)
    y = np.array(measured.means) - 0.4 * x
    degrees = measured.degrees_of_freedom + 5
    within = measured.degrees_of_freedom * measured.sigma**2
    scale = (within + y @ np.linalg.solve(truth + noise, y)) / degrees
    difference = found.draws[:, 0] - found.draws[:, 5]
    variance = posterior[0, 0] + posterior[5, 5] - 2 * posterior[0, 5]
    t = (difference - (expected[0] - expected[5])) / math.sqrt(scale * variance)
    assert stats.kstest(t, stats.t(degrees).cdf).pvalue > 1e-3


def test_pooled_means_are_nearer_to_a_smooth_truth_than_measured_ones():
    random = np.random.default_rng(1)
    errors = {"measured": [], "pooled": []}
    for _ in range(60):
        truth = -0.3 * (np.arange(6) - random.uniform(0, 5)) ** 2 * random.uniform(0, 1)
        measured = study(truth, 3, random)
        for name, means in (("measured", measured.means), ("pooled", pool(measured).means)):
            off = np.array(means) - truth
            errors[name].append(np.mean((off - off.mean()) ** 2))
    gain = np.array(errors["measured"]) - np.array(errors["pooled"])
    assert gain.mean() > 3 * gain.std(ddof=1) / math.sqrt(60)


def test_clear_differences_stay_as_measured():
    measured = study([0.0, 40.0, 10.0, 30.0, 20.0, 50.0], 5, np.random.default_rng(2))
    assert pool(measured).means == pytest.approx(measured.means, abs=0.5)


def test_chance_of_loss_is_right_on_average():
    random = np.random.default_rng(3)
    stated, lost = [], []
    for _ in range(150):
        truth = -abs(random.normal(0, 0.5)) * np.abs(np.arange(6) - random.uniform(0, 5)) + random.normal(0, 0.3, 6)
        measured = study(truth, 3, random)
        stated.append(pool(measured).chance_of_loss(measured.best, 0.5))
        lost.append(truth.max() - truth[SIZES.index(measured.best)] > 0.5)
    assert np.mean(stated) == pytest.approx(np.mean(lost), abs=3 * math.sqrt(0.25 / 150))


def test_best_of_exact_draws_loses_nothing():
    found = Pooled((8, 16), (1.0, 0.0), np.array([[1.0, 0.0], [1.0, 2.0]]))
    assert found.chance_of_loss(8, 0.5) == 0.5
    assert found.chance_of_loss(16, 1.0) == 0.0
    assert found.expected_loss(8) == 0.5
    assert found.shifted({8: 0.0, 16: 5.0}).means == (1.0, 5.0)
    assert found.shifted({8: 0.0, 16: 5.0}).chance_of_loss(16, 0.0) == 0.0


def test_the_same_means_give_the_same_draws():
    measured = study([0.0, 1.0, 2.0, 2.0], 3, np.random.default_rng(4))
    assert np.array_equal(pool(measured).draws, pool(measured).draws)


def test_unknown_noise_needs_a_prior():
    single = compare({8: {0: 0.1}, 16: {0: 0.2}, 32: {0: 0.1}})
    assert pool(single) is None
    assert pool(single, noise=Noise(0.1, 4.0)) is not None
    assert pool(compare({8: {0: 0.1, 1: 0.2}})) is None


def test_the_curve_that_fits_is_found_among_those_expected(monkeypatch):
    monkeypatch.setattr(pooling, "NULL_WEIGHT", 1 - 1e-9)
    curves = np.array([[0.0, 1, 2, 3, 4, 5], [5.0, 4, 3, 2, 1, 0], [0.0, 1, 2, 2, 1, 0]])
    measured = study(4 * curves[2], 3, np.random.default_rng(5))
    found = np.array(pool(measured, [Expectation(4 * curves)]).means)
    assert found - found.mean() == pytest.approx(4 * (curves[2] - curves[2].mean()), abs=1e-3)


def test_without_repeats_a_size_has_no_deviation_of_its_own():
    means = [0.0, 0.0, 0.0, 3.0, 0.0, 0.0]
    found = pool(compare({size: {0: y} for size, y in zip(SIZES, means, strict=True)}), noise=Noise(0.1, 4.0))
    repeated = {size: {0: y, 1: y + 0.1 * (-1) ** i} for i, (size, y) in enumerate(zip(SIZES, means, strict=True))}
    assert pool(compare(repeated), noise=Noise(0.1, 4.0)).mean(64) > 2.9
    assert found.mean(64) < 2.8
