"""What stopped trainings are taken to have come to."""

from __future__ import annotations

import numpy as np
import pytest

from tuning.proposals.axes import Array, Mask
from tuning.proposals.stopped import Courses, line
from tuning.proposals.warping import warp


@pytest.mark.parametrize("count", [1, 2, 12])
def test_a_line_is_the_mean_of_a_conditioned_normal_vector(count: int) -> None:
    random = np.random.default_rng(count)
    design = np.column_stack([np.ones(count), random.normal(size=count)])
    values = random.normal(size=count)
    prior = np.diag([1.0, 0.25])
    expected, variance = np.zeros(2), 0.25
    for _ in range(3):
        together = design @ prior @ design.T + variance * np.eye(count)
        expected = prior @ design.T @ np.linalg.solve(together, values)
        variance = (float(((values - design @ expected) ** 2).sum()) + 0.75) / (count + 3)
    weights, left = line(design, values)
    assert weights == pytest.approx(expected, abs=1e-9)
    assert left == pytest.approx(variance)


def courses_of(scores: Array, stopped: Mask, features: Array) -> Courses:
    return Courses(scores, stopped, features, np.arange(features.shape[1]))


def late_bloomers(count: int = 60) -> tuple[Courses, Array, Array]:
    """Trainings of which those with a large feature gain most after the rung; every third was stopped there."""
    random = np.random.default_rng(0)
    feature, standing = random.random(count), random.normal(size=count)
    finals = warp(standing + 3.0 * feature)
    stopped = np.arange(count) % 3 == 0
    scores = np.column_stack([standing, np.where(stopped, np.nan, standing)])
    return courses_of(scores, stopped, feature[:, None]), finals, stopped


def test_the_course_of_others_with_such_a_setting_tells_how_a_stopped_one_would_have_ended() -> None:
    courses, finals, stopped = late_bloomers()
    values, variances = courses.endings(np.where(stopped, 0.0, finals))
    errors = values[stopped] - finals[stopped]
    assert np.abs(errors).mean() < 0.25  # the rank at the rung alone is off by 0.6
    assert np.abs(warp(courses.scores[:, 0])[stopped] - finals[stopped]).mean() > 0.5
    assert (np.abs(errors) < 2 * np.sqrt(variances[stopped])).mean() > 0.85


def test_one_that_was_not_stopped_keeps_its_value_without_doubt() -> None:
    courses, finals, stopped = late_bloomers()
    values, variances = courses.endings(np.where(stopped, 0.0, finals))
    assert values[~stopped].tolist() == finals[~stopped].tolist()
    assert not variances[~stopped].any()


def test_a_later_rung_leaves_less_doubt() -> None:
    random = np.random.default_rng(1)
    finals, features = random.normal(size=40), random.random((40, 1))
    early, late = finals + random.normal(size=40), finals + random.normal(scale=0.1, size=40)
    stopped = np.arange(40) < 2
    late[0] = np.nan
    _, variances = courses_of(np.column_stack([early, late]), stopped, features).endings(warp(finals))
    assert variances[1] < 0.5 * variances[0]


def test_without_any_that_went_on_there_is_as_much_doubt_as_beforehand() -> None:
    courses = courses_of(np.array([[0.1], [0.2], [np.nan]]), np.array([True, True, False]), np.zeros((3, 1)))
    values, variances = courses.endings(np.zeros(3))
    assert values[0] < values[1]
    assert variances == pytest.approx([0.25 + 1.0 + 0.25, 0.25 + 1.0 + 0.25, 0.0])  # noise, offset and slope at 1
