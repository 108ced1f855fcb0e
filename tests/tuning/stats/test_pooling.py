import dataclasses
import math

import numpy as np
import pytest
from scipy import stats

from tuning.stats import pooling
from tuning.stats.comparison import compare
from tuning.stats.pooling import Expectation, Noise, Pooled, pool
from tuning.stats.runs import Runs, runs_of
from tuning.stats.shapes import Shapes, matern

SIZES = (8, 16, 32, 64, 128, 256)
LOGS = np.log(np.array(SIZES, dtype=float))


def scores(table, sizes=SIZES):
    return {size: dict(enumerate(row.tolist())) for size, row in zip(sizes, np.asarray(table), strict=False)}


def study(truth, n, random):
    return np.asarray(truth)[:, None] + random.normal(0, 1, (len(truth), n)) + random.normal(0, 3, n)


def pooled(table, *arguments, sizes=SIZES, **options):
    values = scores(table, sizes)
    found = compare(values)
    return pool(runs_of(values, blocked=found.blocked, inflation=found.inflation), *arguments, **options)


def centred(values):
    return np.asarray(values) - np.mean(values)


def brute_force(table, prior, curve, sigma, spread, shared):
    """Mean and covariance of the true means from one joint normal with every run; seeds and level have variance 1e6."""
    k, n = table.shape
    truth = sigma**2 * prior + 1e6
    rows, seeds = np.divmod(np.arange(k * n), n)
    noise = np.diag(sigma**2 * spread[rows] ** 2) + 1e6 * (seeds[:, None] == seeds)
    of_runs = truth[np.ix_(rows, rows)] + shared[rows][:, None] * (rows[:, None] == rows) + noise
    across = truth[:, rows]
    gain = np.linalg.solve(of_runs, across.T).T
    means = curve + gain @ (table.ravel() - curve[rows])
    return means, truth - gain @ across.T


@pytest.fixture
def one_prior(monkeypatch):
    """One shape, one trend of the noise and one sigma; returns the prior covariance over sigma^2, and sigma."""
    covariance = 1.2**2 * matern(LOGS, 2.0) + 0.5**2 * np.eye(6)
    shapes = Shapes(0.3 * np.eye(6)[:1], covariance[None], np.ones(1))
    monkeypatch.setattr(pooling, "shapes_of", lambda *_, **__: shapes)
    monkeypatch.setattr(pooling, "TRENDS", {0.8: 1.0})
    monkeypatch.setattr(pooling, "_sigmas", lambda *_: np.array([0.9]))
    return covariance, 0.9


def test_one_prior_is_conditioned_exactly(one_prior):
    covariance, sigma = one_prior
    table = study([0.0, 1.0, 2.0, 2.0, 1.0, -1.0], 3, np.random.default_rng(0))
    shared = np.array([0.1, 0.2, 0.3, 0.0, 0.5, 0.1])
    found = pooled(
        table, [Expectation(0.4 * LOGS[None, :], 0.7, own=0.3)], variances=dict(zip(SIZES, shared, strict=True))
    )
    x = LOGS - LOGS.mean()
    curve = 0.4 * LOGS + sigma * 0.3 * np.eye(6)[0]
    spread = np.exp(0.8 * x / (x[-1] - x[0]))
    means, posterior = brute_force(
        table, covariance + 0.7**2 * np.outer(x, x) + 0.3**2 * np.eye(6), curve, sigma, spread, shared
    )
    assert centred(found.means) == pytest.approx(centred(means), abs=1e-4)
    for i, j in ((0, 5), (1, 2), (3, 4)):
        variance = posterior[i, i] + posterior[j, j] - 2 * posterior[i, j]
        standard = (found.draws[:, i] - found.draws[:, j] - (means[i] - means[j])) / math.sqrt(variance)
        assert stats.kstest(standard, "norm").pvalue > 1e-3


def test_what_is_left_out_is_predicted_by_the_others(one_prior):
    covariance, sigma = one_prior
    table = study([0.0, 1.0, 2.0, 2.0, 1.0, -1.0], 3, np.random.default_rng(0))
    group = pooling._Model(runs_of(scores(table), blocked=True), Noise(), np.array([sigma]), np.zeros((6, 6))).groups(
        (Expectation(np.zeros((1, 6))),)
    )[0]
    _, distances = group.left_out()
    x = LOGS - LOGS.mean()
    noise = sigma**2 * (covariance + np.diag(np.exp(1.6 * x / (x[-1] - x[0]))) / 3) + 1e6
    expected = sigma * 0.3 * np.eye(6)[0]
    kept = [1, 2, 3, 4, 5]
    gain = np.linalg.solve(noise[np.ix_(kept, kept)], noise[kept, 0])
    means = table.mean(axis=1)
    predicted = expected[0] + gain @ (means - expected)[kept]
    variance = noise[0, 0] - gain @ noise[kept, 0]
    assert distances[0, 0] == pytest.approx((means[0] - predicted) / math.sqrt(variance), abs=1e-3)


def test_sigma_is_integrated_out_as_the_t_distribution_has_it(monkeypatch):
    flat = Shapes(np.zeros((1, 6)), 1e4 * np.eye(6)[None], np.ones(1))
    monkeypatch.setattr(pooling, "shapes_of", lambda *_, **__: flat)
    monkeypatch.setattr(pooling, "TRENDS", {0.0: 1.0})
    table = study([0.0, 1.0, 2.0, 2.0, 1.0, -1.0], 4, np.random.default_rng(3))
    found, plain = pooled(table), compare(scores(table))
    difference = found.draws[:, 1] - found.draws[:, 4] - (plain.mean(16) - plain.mean(128))
    error = plain.standard_error(16, 128) * math.sqrt(15 / 20)  # means in proportion to sigma tell of it as runs do
    for level in (0.05, 0.25, 0.75, 0.95):
        assert np.mean(difference / error < stats.t.ppf(level, 20)) == pytest.approx(level, abs=0.02)


def test_pooled_means_are_nearer_to_a_smooth_truth_than_measured_ones():
    random = np.random.default_rng(1)
    gains = []
    for _ in range(25):
        truth = -0.3 * (np.arange(6) - random.uniform(0, 5)) ** 2 * random.uniform(0, 1)
        table = study(truth, 3, random)
        both = table.mean(axis=1), pooled(table).means
        errors = [np.mean((centred(means) - centred(truth)) ** 2) for means in both]
        gains.append(errors[0] - errors[1])
    assert np.mean(gains) > 2 * np.std(gains, ddof=1) / math.sqrt(25)


def test_clear_differences_stay_as_measured():
    table = study([0.0, 40.0, 10.0, 30.0, 20.0, 50.0], 5, np.random.default_rng(2))
    assert centred(pooled(table).means) == pytest.approx(centred(table.mean(axis=1)), abs=0.5)


def test_chance_of_loss_is_right_on_average():
    random = np.random.default_rng(3)
    stated, lost = [], []
    for _ in range(40):
        truth = -abs(random.normal(0, 0.5)) * np.abs(np.arange(6) - random.uniform(0, 5)) + random.normal(0, 0.3, 6)
        table = study(truth, 3, random)
        best = int(table.mean(axis=1).argmax())
        stated.append(pooled(table).chance_of_loss(SIZES[best], 0.5))
        lost.append(truth.max() - truth[best] > 0.5)
    assert np.mean(stated) == pytest.approx(np.mean(lost), abs=3 * math.sqrt(0.25 / 40))


def test_an_error_that_all_runs_of_a_size_share_makes_a_loss_likelier():
    table = study([0.0, 0.0, 0.0, 2.0, 0.0, 0.0], 3, np.random.default_rng(6))
    exact = pooled(table).chance_of_loss(64, 0.5)
    shared = pooled(table, variances=dict.fromkeys(SIZES, 1.0)).chance_of_loss(64, 0.5)
    assert shared > exact + 0.03


def test_the_noise_of_a_size_counts_as_far_as_it_follows_the_batch_size():
    random = np.random.default_rng(7)
    noise = random.normal(0, 1, (6, 5)) * np.geomspace(5, 0.2, 6)[:, None]
    table = noise - noise.mean(axis=1, keepdims=True)
    loud = table + np.array([1.0, 0, 0, 0, 0, 0])[:, None]
    quiet = table + np.array([0, 0, 0, 0, 0, 1.0])[:, None]
    assert pooled(loud).chance_of_loss(16, 0.5) < pooled(quiet).chance_of_loss(128, 0.5) - 0.3


def test_best_of_exact_draws_loses_nothing():
    found = Pooled((8, 16), (1.0, 0.0), np.array([[1.0, 0.0], [1.0, 2.0]]))
    assert found.chance_of_loss(8, 0.5) == 0.5
    assert found.chance_of_loss(16, 1.0) == 0.0
    assert found.expected_loss(8) == 0.5


def test_the_same_means_give_the_same_draws():
    table = study([0.0, 1.0, 2.0, 2.0], 3, np.random.default_rng(4))
    assert np.array_equal(pooled(table).draws, pooled(table).draws)


def test_unknown_noise_needs_a_prior():
    single = np.array([[0.1], [0.2], [0.1]])
    assert pooled(single) is None
    assert pooled(single, noise=Noise(0.1, 4.0)) is not None
    assert pooled(np.array([[0.1, 0.2]])) is None


def test_the_curve_that_fits_is_found_among_those_expected():
    curves = np.array([[0.0, 1, 2, 3, 4, 5], [5.0, 4, 3, 2, 1, 0], [0.0, 1, 2, 2, 1, 0]])
    found = pooled(study(4 * curves[2], 3, np.random.default_rng(5)), [Expectation(4 * curves)])
    assert centred(found.means) == pytest.approx(4 * centred(curves[2]), abs=0.7)


def test_without_repeats_a_size_has_no_deviation_of_its_own():
    means = np.array([0.0, 0.0, 0.0, 0.6, 0.0, 0.0])
    found = pooled(means[:, None], noise=Noise(0.1, 4.0))
    repeated = pooled(means[:, None] + 0.1 * np.array([[1, -1]] * 3 + [[-1, 1]] * 3), noise=Noise(0.1, 4.0))
    assert repeated.mean(64) - repeated.mean(8) > 0.5
    assert found.mean(64) - found.mean(8) < 0.4


def test_a_size_that_the_others_contradict_plainly_makes_the_runs_answer_alone():
    sizes = tuple(4 * 2**i for i in range(10))
    random = np.random.default_rng(8)
    table = np.linspace(0, 1, 10)[:, None] + random.normal(0, 0.5, (10, 4))
    assert pooled(table, sizes=sizes).outlier is None
    table[4] -= 60
    found, plain = pooled(table, sizes=sizes), compare(scores(table, sizes))
    assert found.outlier == 64
    assert centred(found.means) == pytest.approx(centred(plain.means))
    difference = (found.draws[:, 0] - found.draws[:, 9] - (plain.mean(4) - plain.mean(2048))) / (
        plain.standard_error(4, 2048)
    )
    assert stats.kstest(difference, stats.t(plain.degrees_of_freedom).cdf).pvalue > 1e-3


def test_runs_without_pairs_have_one_block():
    values = {8: {0: 1.0, 1: 2.0}, 16: {2: 3.0, 3: 5.0}}
    runs = runs_of(values, blocked=False)
    assert isinstance(runs, Runs)
    information = runs.information(0.0)
    assert information.rest == pytest.approx(0.5 + 2.0)
    assert information.residual_degrees == 2
    assert np.diff(information.fitted) == pytest.approx([2.5])
    assert dataclasses.replace(runs, inflation=np.array([1.0, 4.0])).information(0.0).rest == pytest.approx(0.5 + 0.5)


def test_a_loss_if_one_size_stands_out_is_counted_where_one_does():
    draws = np.array([[1.0, 0.0], [0.0, 0.0], [0.2, 0.0], [0.0, 1.0]])
    found = Pooled((8, 16), (0.3, 0.25), draws, isolated=np.array([True, False, True, False]))
    assert found.if_isolated(16, 0.5) == (0.5, 0.5)
    assert Pooled((8, 16), (0.3, 0.25), draws).if_isolated(16, 0.5) == (0.0, 0.0)


def test_one_size_stands_out_where_it_is_better_than_all_and_not_where_scores_fall_steadily():
    random = np.random.default_rng(5)
    alone, steady = 8 * np.eye(6)[2], -8.0 * np.arange(6)
    shares = [pooled(study(truth, 3, random)).if_isolated(256, 0.1) for truth in (alone, steady)]
    assert shares[0][0] > 0.2
    assert shares[0][1] > 0.95
    assert shares[1][0] < 0.01
