import itertools

import numpy as np
import pytest
from scipy import stats

from tuning.stats.caveats import permutation_p_value, smallest_p_value


@pytest.mark.parametrize(("seeds", "least"), [(3, 0.25), (4, 0.125), (5, 0.0625), (6, 0.03125), (8, 0.0078125)])
def test_least_p_value_is_reached_when_all_differences_agree(seeds, least):
    differences = [1.0 + 0.1 * i for i in range(seeds)]
    assert smallest_p_value(seeds) == least
    assert permutation_p_value(differences) == least


def test_permutation_test_counts_every_sign_flip():
    differences = [3.0, -1.0, 2.0, 0.5]
    sums = [
        abs(sum(s * d for s, d in zip(signs, differences, strict=True)))
        for signs in itertools.product((1, -1), repeat=4)
    ]
    assert permutation_p_value(differences) == sum(s >= 4.5 for s in sums) / 16


def test_many_seeds_fall_back_to_random_flips_near_the_normal_value():
    differences = np.random.default_rng(1).normal(0.3, 1, 40)
    z = differences.sum() / np.sqrt((differences**2).sum())
    assert permutation_p_value(differences) == pytest.approx(2 * stats.norm.sf(abs(z)), abs=0.01)


def test_no_differences_are_refused():
    with pytest.raises(ValueError, match="needs at least one paired difference"):
        permutation_p_value([])
