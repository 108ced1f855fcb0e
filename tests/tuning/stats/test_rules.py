import math

import numpy as np
import pytest

from tuning.stats.comparison import compare
from tuning.stats.decision import eligible_sizes, pick, stated_margin
from tuning.stats.rules import check_rule

SIZES = (8, 16, 32, 64)


def comparison(gaps, n=3):
    """A comparison with exactly these gaps, in units of the standard error of a difference."""
    noise = np.random.default_rng(0).normal(0, 1, (len(gaps), n))
    noise -= noise.mean(1, keepdims=True)
    error = compare({s: dict(enumerate(r.tolist())) for s, r in zip(SIZES, noise, strict=False)}).standard_error(8, 16)
    table = noise - error * np.array(gaps)[:, None]
    return compare({s: dict(enumerate(r.tolist())) for s, r in zip(SIZES, table, strict=False)})


@pytest.mark.parametrize(("rule", "eligible"), [("quality", (8,)), ("balanced", (8, 16)), ("fastest", (8, 16, 32))])
def test_rules_differ_in_the_standard_errors_they_allow(rule, eligible):
    assert eligible_sizes(comparison([0, 0.9, 1.4, 1.6]), rule, None) == eligible


def test_tolerance_admits_more_but_never_less():
    found = comparison([0, 0.9, 1.4, 5])
    assert eligible_sizes(found, "quality", 0.0) == (8,)
    assert eligible_sizes(found, "quality", found.gap(32) * 1.01) == (8, 16, 32)
    assert eligible_sizes(found, "fastest", found.gap(16) * 1.01) == (8, 16, 32)


def test_what_is_called_worse_is_never_eligible():
    found = comparison([0, 1.70], n=60)  # two means need 1.67 standard errors with 59 degrees of freedom
    assert found.is_worse(16)
    assert eligible_sizes(found, "fastest", None) == (8,)


def test_unknown_noise_leaves_only_the_tolerance():
    found = compare({8: {0: 0.9}, 16: {0: 0.88}})
    assert eligible_sizes(found, "fastest", None) == (8,)
    assert eligible_sizes(found, "fastest", 0.03) == (8, 16)


def test_wild_scores_do_not_let_a_batch_size_in():
    random = np.random.default_rng(1)
    table = np.array([0.9, 0.9, 0.9, 0.9, 0.85])[:, None] + random.normal(0, 0.001, (5, 4))
    table[4] += [0.25, -0.2, 0.1, -0.15]
    found = compare({s: dict(enumerate(r.tolist())) for s, r in zip((8, 16, 32, 64, 128), table, strict=True)})
    assert found.unstable == (128,)
    assert found.gap(128) < found.standard_error(128)  # by its own error it would be near enough
    assert 128 not in eligible_sizes(found, "fastest", None)


def test_cheapest_is_taken_and_near_costs_go_by_the_mean():
    found = comparison([0.5, 0, 0.2, 0.4])
    assert pick(found, SIZES, {8: 1.0, 16: 9.0, 32: 2.0, 64: 3.0}) == 8
    assert pick(found, SIZES, {8: 1.0, 16: 9.0, 32: 1.09, 64: 1.05}) == 32
    assert pick(found, SIZES, {16: 9.0}) == 16


def test_without_costs_the_best_mean_and_of_equal_ones_the_larger():
    assert pick(comparison([0.5, 0, 0.2, 0.4]), SIZES, {}) == 16
    assert pick(compare({8: {0: 1.0}, 16: {0: 1.0}, 32: {0: 0.5}}), (8, 16, 32), {}) == 16


def test_stated_margin_is_what_fastest_tolerates():
    found = comparison([0, 1, 1, 1])
    assert stated_margin(found, None) == pytest.approx(1.5 * found.sigma * math.sqrt(2 / 3))
    assert stated_margin(found, 99.0) == 99.0
    assert stated_margin(compare({8: {0: 0.9}, 16: {0: 0.8}}), None) is None


def test_unknown_rules_are_refused():
    assert check_rule("balanced") == "balanced"
    with pytest.raises(ValueError, match="rule must be one of fastest, balanced, quality; got 'best'"):
        check_rule("best")
