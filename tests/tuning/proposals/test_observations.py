from __future__ import annotations

import numpy as np
import pytest

from tuning.proposals.evidence import Observations
from tuning.proposals.stopped import Courses


def test_repeats_of_a_point_are_taken_together() -> None:
    points = np.array([[0.0, np.nan], [1.0, 0.5], [0.0, np.nan], [0.0, 0.5]])
    values = np.array([1.0, 2.0, 3.0, 5.0])
    distinct, pooled = Observations(points, values).pooled()
    assert len(distinct) == 3
    index = next(i for i, point in enumerate(distinct) if np.isnan(point[1]))
    assert pooled.repeats.tolist() == [2.0 if i == index else 1.0 for i in range(3)]
    assert float(pooled.means @ pooled.repeats) == pytest.approx(0.0, abs=1e-12)  # warped to a mean of 0
    assert (pooled.within > 0).tolist() == [i == index for i in range(3)]


def test_a_diverged_training_counts_as_the_worst_there_is() -> None:
    points = np.array([[0.0], [0.3], [0.6], [0.9]])
    distinct, diverged = Observations(points, np.array([0.9, np.nan, 0.2, 0.8])).pooled()
    _, worst = Observations(points, np.array([0.9, 0.2, 0.2, 0.8])).pooled()
    assert diverged.means == pytest.approx(worst.means)
    assert distinct.tolist() == points.tolist()


def test_a_stopped_training_counts_as_it_would_have_ended_and_with_doubt() -> None:
    """Trainings gain as much from the rung to the end; without that, the stopped one would be the worst of all."""
    points, finals = np.linspace(0, 1, 9)[:, None], np.array([0.5, 0.6, 0.7, 0.8, np.nan, 0.9, 0.8, 0.7, 0.6])
    rungs = np.where(np.isnan(finals), 0.44, finals - 0.4)[:, None]
    courses = Courses(rungs, np.isnan(finals), points, np.array([0]))
    _, pooled = Observations(points, finals, courses).pooled()
    assert pooled.means[3] < pooled.means[4] < pooled.means[5]
    assert (pooled.doubts > 0).tolist() == [index == 4 for index in range(9)]
    assert pooled.means.mean() == pytest.approx(0.0, abs=1e-12)


def test_the_doubt_of_a_mean_is_that_of_independent_values() -> None:
    points = np.array([[0.0], [0.0], [0.5], [1.0]])
    courses = Courses(
        np.array([[0.2], [0.3], [0.1], [0.4]]), np.array([True, True, False, False]), points, np.array([0])
    )
    _, pooled = Observations(points, np.array([np.nan, np.nan, 0.5, 0.8]), courses).pooled()
    apart = Observations(np.array([[0.0], [0.1], [0.5], [1.0]]), np.array([np.nan, np.nan, 0.5, 0.8]), courses).pooled()
    assert pooled.doubts[0] == pytest.approx(apart[1].doubts[:2].sum() / 4)


def test_where_nothing_was_stopped_courses_say_nothing() -> None:
    points, values = np.linspace(0, 1, 5)[:, None], np.array([0.5, 0.6, np.nan, 0.8, 0.9])
    courses = Courses(np.full((5, 2), np.nan), np.zeros(5, dtype=bool), points, np.array([0]))
    _, with_courses = Observations(points, values, courses).pooled()
    _, without = Observations(points, values).pooled()
    assert with_courses.means.tolist() == without.means.tolist()
