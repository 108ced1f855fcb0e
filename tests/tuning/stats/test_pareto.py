import numpy as np
import pytest

from tuning.stats.pareto import pareto_front


@pytest.mark.parametrize("columns", [1, 2, 3, 4])
def test_front_agrees_with_brute_force(columns):
    random = np.random.default_rng(columns)
    table = random.integers(0, 6, (60, columns))
    nowhere_larger = (table[None] <= table[:, None]).all(axis=2)
    somewhere_smaller = (table[None] < table[:, None]).any(axis=2)
    expected = np.flatnonzero(~(nowhere_larger & somewhere_smaller).any(axis=1)).tolist()
    points = {i: tuple(row) for i, row in enumerate(table.tolist())}
    assert pareto_front(points) == expected


def test_equal_points_are_all_kept():
    assert pareto_front({"a": (1, 2), "b": (1, 2), "c": (2, 2)}) == ["a", "b"]


def test_columns_with_unknown_values_are_left_out():
    assert pareto_front({8: (1.0, None), 16: (2.0, 5.0), 32: (3.0, float("nan"))}) == [8]
    assert pareto_front({8: (None,), 16: (2.0,)}) == [8, 16]
    assert pareto_front({}) == []


def test_ragged_points_are_refused():
    with pytest.raises(ValueError, match=r"equally many numbers; got lengths \[1, 2\]"):
        pareto_front({8: (1.0,), 16: (1.0, 2.0)})
