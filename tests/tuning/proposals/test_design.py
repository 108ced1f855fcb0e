from __future__ import annotations

import numpy as np

from tuning.proposals.axes import Array, Axis, Mask, Space
from tuning.proposals.proposer import StartDesign

SPACE = Space([Axis(tuple(np.linspace(0, 1, 7))), Axis(), Axis()])


def anything(points: Array) -> Mask:
    return np.ones(len(points), dtype=bool)


def test_the_first_trials_are_the_middle_and_then_both_ends_of_the_batch_sizes() -> None:
    design = StartDesign(SPACE, 0, budget=30, seed=0)
    points = [design.point(index, anything) for index in range(len(design))]
    assert points[0] is not None
    assert points[0].tolist() == [3.0, 0.5, 0.5]
    assert [point[0] for point in points if point is not None] == [3.0, 6.0, 0.0, 3.0]


def test_what_does_not_fit_becomes_the_largest_size_that_does() -> None:
    point = StartDesign(SPACE, 0, budget=30, seed=0).point(1, lambda points: points[:, 0] < 5)
    assert point is not None
    assert point[0] == 4.0
    assert StartDesign(SPACE, 0, budget=30, seed=0).point(1, lambda points: points[:, 0] < 0) is None


def test_a_favourite_batch_size_comes_second_with_all_else_in_the_middle() -> None:
    design = StartDesign(SPACE, 0, budget=30, seed=0, favourite=4)
    points = [point for index in range(len(design)) if (point := design.point(index, anything)) is not None]
    assert points[1].tolist() == [4.0, 0.5, 0.5]
    assert [point[0] for point in points] == [3.0, 4.0, 6.0, 0.0, 3.0]
    assert len(StartDesign(SPACE, 0, budget=30, seed=0, favourite=3)) == len(design) - 1  # the middle is there already


def test_a_small_budget_still_covers_the_batch_sizes() -> None:
    assert len(StartDesign(SPACE, 0, budget=4, seed=0)) == 3
