from __future__ import annotations

import numpy as np
import pytest

from tuning.proposals.axes import Axis, Condition, Shear, Space


def mixed_space() -> Space:
    """Sizes, a rate, a kind without order, and a width that only the third kind has."""
    return Space(
        [
            Axis((0.0, 0.25, 1.0)),
            Axis(),
            Axis((0.0, 0.5, 1.0), is_ordered=False),
            Axis((0.0, 1.0), conditions=(Condition(2, (2,)),)),
        ]
    )


def test_features_are_positions_and_unordered_levels_are_equally_far_apart() -> None:
    features = mixed_space().features(
        np.array([[1.0, 0.3, 0.0, np.nan], [2.0, 0.3, 1.0, np.nan], [2.0, 0.3, 2.0, 1.0]])
    )
    assert features[:, :2].tolist() == [[0.25, 0.3], [1.0, 0.3], [1.0, 0.3]]
    kinds = features[:, 2:5]
    assert [np.linalg.norm(kinds[i] - kinds[j]) for i, j in ((0, 1), (0, 2), (1, 2))] == pytest.approx([1.0] * 3)
    assert features[:, 5].tolist() == [0.5, 0.5, 1.0]
    assert mixed_space().groups.tolist() == [0, 1, 2, 2, 2, 3]


def test_random_and_moved_points_are_of_the_space() -> None:
    random = np.random.default_rng(0)
    space = mixed_space()
    points = space.random(300, random)
    for some in (points, space.moved(points, random)):
        assert set(some[:, 0]) == {0.0, 1.0, 2.0}
        assert ((some[:, 1] >= 0) & (some[:, 1] <= 1)).all()
        assert (np.isnan(some[:, 3]) == (some[:, 2] != 2)).all()


def test_a_move_changes_something() -> None:
    random = np.random.default_rng(1)
    space = Space([Axis((0.0, 0.5, 1.0), is_ordered=False), Axis((0.0, 0.5, 1.0), is_ordered=False)])
    points = space.random(50, random)
    assert (space.moved(points, random) != points).any(axis=1).all()


def test_a_shear_makes_a_ridge_parallel_to_the_axes() -> None:
    space = Space([Axis(), Axis()], Shear(axis=1, along=0, slope=0.5))
    features = space.features(np.array([[0.0, 0.2], [0.4, 0.4], [1.0, 0.7]]))
    assert features[:, 1] == pytest.approx([0.2, 0.2, 0.2])
