from __future__ import annotations

import numpy as np
import pytest

from tuning.proposals.evidence import Observations


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
