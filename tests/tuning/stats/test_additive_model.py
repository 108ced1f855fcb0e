import numpy as np
import pytest

from tuning.stats.additive_model import fit_additive_model, unstable_rows


def complete_table(k=5, n=4, seed=0):
    random = np.random.default_rng(seed)
    return random.normal(0, 1, (k, n)) + random.normal(0, 3, n) + random.normal(0, 2, (k, 1))


def test_complete_table_gives_plain_means_and_the_two_way_residual():
    table = complete_table()
    fit = fit_additive_model(table)
    residual = table - table.mean(1, keepdims=True) - table.mean(0) + table.mean()
    assert fit.blocked
    assert fit.means == pytest.approx(table.mean(1))
    assert fit.degrees_of_freedom == 4 * 3
    assert fit.variance == pytest.approx((residual**2).sum() / 12)
    assert fit.covariance == pytest.approx(np.eye(5) / 4)
    assert fit.seed_effects == pytest.approx(table.mean(0) - table.mean())


def test_missing_scores_are_fitted_by_least_squares():
    table = complete_table()
    table[1, 2] = table[3, 0] = np.nan
    fit = fit_additive_model(table)

    def squares(means, effects):
        return float(np.nansum((table - means[:, None] - effects) ** 2))

    assert fit.degrees_of_freedom == 18 - 5 - 4 + 1
    assert squares(fit.means, fit.seed_effects) == pytest.approx(fit.squares)
    random = np.random.default_rng(1)
    for _ in range(200):
        moved = squares(fit.means + random.normal(0, 0.1, 5), fit.seed_effects + random.normal(0, 0.1, 4))
        assert moved > fit.squares


def test_lacking_an_easy_seed_is_not_blamed_on_the_row():
    effects = np.array([0.0, 0.0, 9.0])
    table = np.array([[1.0], [2.0], [3.0]]) + effects
    table[2, 2] = np.nan
    assert np.diff(fit_additive_model(table).means) == pytest.approx([1.0, 1.0])


def test_errors_of_means_with_missing_scores_match_simulation():
    random = np.random.default_rng(2)
    present = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 0], [1, 1, 1]], dtype=bool)
    differences = []
    for _ in range(2000):
        table = np.where(present, random.normal(0, 1, (4, 3)) + random.normal(0, 5, 3), np.nan)
        fit = fit_additive_model(table)
        differences.append(fit.means[0] - fit.means[1])
    c = fit.covariance
    assert np.var(differences) == pytest.approx(c[0, 0] + c[1, 1] - 2 * c[0, 1], rel=0.1)


def test_rows_without_seeds_in_common_are_not_blocked():
    table = np.array([[1.0, 2.0, np.nan, np.nan], [np.nan, np.nan, 3.0, 5.0]])
    fit = fit_additive_model(table)
    assert not fit.blocked
    assert fit.means == pytest.approx([1.5, 4.0])
    assert fit.degrees_of_freedom == 2
    assert fit.variance == pytest.approx((0.5 + 2.0) / 2)


def test_single_scores_leave_the_variance_unknown():
    assert fit_additive_model(np.array([[1.0], [2.0]])).variance is None


def test_a_row_that_collapses_at_one_seed_is_unstable():
    table = 0.9 + 0.001 * complete_table(k=6, n=4)
    table[2, 1] = 0.3
    assert list(unstable_rows(table)) == [2]


def test_ordinary_rows_are_called_unstable_at_most_as_often_as_stated():
    random = np.random.default_rng(3)
    found = sum(bool(unstable_rows(random.normal(0, 1, (6, 3)))) for _ in range(500))
    assert found <= 4  # .001 for all six rows together: 0.5 expected, more than 4 in 0.02 % of such tests


def test_too_few_rows_or_scores_to_tell():
    assert unstable_rows(np.array([[0.0, 0.0, 0.1], [5.0, -5.0, 0.0]])) == {}
    assert unstable_rows(np.array([[0.0, 0.1], [0.0, 0.1], [9.0, -9.0]])) == {}


def test_half_of_the_rows_are_never_called_unstable():
    calm, wild = np.array([1.0, -1.0, 0.5, -0.5, 0.2, -0.2, 0.1, -0.1]), np.array([1.0, 1.0, -1.0, -1.0] * 2)
    table = np.stack([0.001 * calm, 0.001 * calm[::-1], wild, 100 * wild[::-1]])
    assert list(unstable_rows(table)) == [3]
    assert sorted(unstable_rows(np.vstack([table, 0.001 * np.roll(calm, 2), 0.001 * np.roll(calm, 3)]))) == [2, 3]
