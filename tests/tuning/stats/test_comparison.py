import dataclasses
import math

import numpy as np
import pytest

from tuning.stats.additive_model import range_point
from tuning.stats.comparison import compare


def scores(table, sizes=(8, 16, 32, 64, 128, 256)):
    return {
        size: {seed: float(y) for seed, y in enumerate(row) if math.isfinite(y)}
        for size, row in zip(sizes, table, strict=False)
    }


def noisy(means, n=3, seed=0, sigma=1.0):
    random = np.random.default_rng(seed)
    return np.array(means)[:, None] + random.normal(0, sigma, (len(means), n)) + random.normal(0, 5, n)


def test_means_gaps_and_errors_of_a_complete_design():
    table = noisy([3.0, 2.0, 0.0, 1.0])
    found = compare(scores(table))
    residual = table - table.mean(1, keepdims=True) - table.mean(0) + table.mean()
    sigma = math.sqrt((residual**2).sum() / 6)
    best = table.mean(1).argmax()
    assert found.means == pytest.approx(table.mean(1))
    assert found.best == found.batch_sizes[best]
    assert found.gap(32) == pytest.approx(table.mean(1).max() - table.mean(1)[2])
    assert found.standard_error(32) == pytest.approx(sigma * math.sqrt(2 / 3))
    assert found.standard_error(found.best) == 0
    assert found.mean_error(32) == pytest.approx(sigma / math.sqrt(3))


@pytest.mark.parametrize(
    ("near", "far", "worse"),
    [(0.0, 0.99, ()), (0.0, 1.01, (32,)), (0.99, 1.01, (32,)), (1.01, 1.01, (16, 32)), (1.01, 0.99, ())],
    ids=["none", "the far one", "the near one is not", "both", "the near one needs the far one"],
)
def test_worse_is_told_step_by_step_from_the_largest_gap(near, far, worse):
    table = np.array([[1.0, 1.1, 0.9], [1.0, 0.9, 1.1], [0.9, 1.0, 1.1]])
    error = compare(scores(table)).sigma * math.sqrt(2 / 3)
    gaps = near * range_point(2, 4, 0.90), far * range_point(3, 4, 0.90)
    moved = table - error * np.array([[0.0], [gaps[0]], [gaps[1]]])
    assert dataclasses.replace(compare(scores(moved)), trend=(0.0, 0.0)).worse == set(worse)


@pytest.mark.parametrize(("sizes", "seeds"), [(4, 2), (6, 3)])
def test_of_equal_batch_sizes_any_is_called_worse_in_a_tenth_of_the_studies(sizes, seeds):
    random = np.random.default_rng(1)
    names = tuple(2**i for i in range(sizes))
    mistaken = sum(bool(compare(scores(random.normal(0, 1, (sizes, seeds)), names)).worse) for _ in range(200))
    assert 0.02 < mistaken / 200 < 0.10 + 2 * math.sqrt(0.09 / 200)


@pytest.mark.parametrize("spreads", [np.geomspace(6, 1, 4), np.geomspace(1, 6, 4)], ids=["falling", "rising"])
def test_of_equal_batch_sizes_few_are_called_worse_where_the_noise_follows_the_batch_size(spreads):
    random = np.random.default_rng(2)
    tables = random.normal(0, 1, (200, 4, 5)) * spreads[:, None]
    found = [compare(scores(table)) for table in tables]
    mistaken = np.mean([bool(each.worse) for each in found])
    blind = np.mean([bool(dataclasses.replace(each, trend=(0.0, 0.0)).worse) for each in found])
    assert mistaken < 0.10
    assert blind > mistaken


def test_the_trend_of_the_noise_makes_errors_of_both_sizes_own_variances():
    table = np.array([[1.0, 1.1, 0.9], [1.0, 0.9, 1.1], [0.9, 1.0, 1.1]])
    found = dataclasses.replace(compare(scores(table)), trend=(math.log(2), 0.5))
    variances = np.array([0.5, 1.0, 2.0])  # exp(2 ln(2) x) at x = -1/2, 0, 1/2
    variances = variances * 3 / variances.sum()
    best = found.batch_sizes.index(found.best)
    other = 2 if best != 2 else 0
    pair = variances[[best, other]]
    expected = found.sigma * math.sqrt(pair.sum() / 3)
    assert found._own_error(found.batch_sizes[other]) == pytest.approx(expected)
    slope = 2 * float(pair @ np.array([-0.5, 0.0, 0.5])[[best, other]]) / pair.sum()
    degrees = 2 / (2 / 4 + (slope * 0.5) ** 2)
    told = found._degrees(found.batch_sizes[other])
    assert told <= degrees < told + 1


def test_what_all_scores_of_a_size_share_keeps_it_from_being_called_worse():
    table = np.array([[1.0, 1.1, 0.9], [0.0, -0.1, 0.1], [-2.0, -1.9, -2.1]])
    found = compare(scores(table))
    assert found.worse == {16, 32}
    shared = dataclasses.replace(found, shared=(0.0, 0.25, 0.0))
    assert shared.worse == {32}
    assert shared.standard_error(16) == found.standard_error(16)
    assert shared._own_error(16) == pytest.approx(math.sqrt(found._own_error(16) ** 2 + 0.25))
    assert dataclasses.replace(found, shared=(0.25, 0.0, 0.0)).worse == {32}  # that of the best counts, too


def test_seeds_to_separate_would_separate_a_gap_that_is_real():
    table = noisy([1.0, 0.0, 0.5, 0.2])
    found = compare(scores(table))
    size = next(s for s in found.batch_sizes if s != found.best)
    n = found.seeds_to_separate(size)
    rank = sorted(found.means, reverse=True).index(found.mean(size)) + 1
    point = range_point(rank, 6, 0.90)
    assert point * found.sigma * math.sqrt(2 / n) <= found.gap(size) * (1 + 1e-9)
    assert n == 2 or point * found.sigma * math.sqrt(2 / (n - 1)) > found.gap(size)
    assert found.seeds_to_separate(found.best) is None


def test_one_seed_leaves_the_noise_unknown():
    found = compare(scores([[0.9], [0.8]]))
    assert found.sigma is None
    assert found.standard_error(16) is None
    assert found.seeds_to_separate(16) is None
    assert not found.is_worse(16)
    assert (found.best, found.gap(16)) == (8, pytest.approx(0.1))


def test_equal_scores_at_every_seed_are_exact():
    found = compare(scores([[0.9, 0.8], [0.9, 0.8], [0.5, 0.4]]))
    assert found.sigma == 0
    assert found.best == 16
    assert found.is_worse(32)
    assert not found.is_worse(8)


def test_missing_seed_widens_its_error_and_keeps_the_pairing():
    table = noisy([1.0, 1.0, 1.0, 0.0], n=4)
    table[3, 0] = math.nan
    found = compare(scores(table))
    assert found.blocked
    assert found.seeds == (4, 4, 4, 3)
    others = [s for s in (8, 16, 32) if s != found.best]
    assert found.standard_error(64) > found.standard_error(others[0])


def test_unstable_size_keeps_its_own_error_and_leaves_that_of_the_others_alone():
    table = 0.9 + 0.001 * noisy([3.0, 2.0, 1.0, 0.0, 0.0, 0.0], n=4)
    calm = compare(scores(table))
    table[4, 1] -= 0.5
    found = compare(scores(table))
    assert found.unstable == (128,)
    assert found.sigma == pytest.approx(calm.sigma, rel=0.5)
    assert found.standard_error(128) > 50 * found.standard_error(64)
    assert found.common_error(128) == pytest.approx(found.common_error(64))
    assert found.noise_covariance()[4, 4] > 50 * found.noise_covariance()[3, 3]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "at least one score for each batch size; got {}"),
        ({8: {}}, "at least one score for each batch size"),
        ({8: {0: math.nan}}, "compare needs finite scores"),
    ],
)
def test_nothing_to_compare_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        compare(given)


def test_an_unstable_size_is_called_worse_by_the_few_degrees_of_freedom_of_its_own_scores():
    table = 0.9 + 0.001 * noisy([0.5, 0.0, 0.0, 0.0, 0.0, 0.0], n=4)
    table[4] += [0.5, -0.5, 0.2, -0.2]
    wild = compare(scores(table))
    assert wild.unstable == (128,)
    error = wild.standard_error(128)
    pooled, own = (range_point(6, degrees, 0.90) for degrees in (wild.degrees_of_freedom, 3))
    for errors, worse in (((pooled + own) / 2, False), (1.01 * own, True)):
        moved = table.copy()
        moved[4] += wild.gap(128) - errors * error
        found = compare(scores(moved))
        assert found.gap(128) == pytest.approx(errors * error, rel=1e-6)
        assert found.is_worse(128) is worse
