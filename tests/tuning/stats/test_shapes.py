import math

import numpy as np
import pytest

from tuning.stats.shapes import FAMILIES, matern, shapes_of

LOGS = np.log(np.array([8.0, 16.0, 32.0, 64.0]))


def test_chances_add_up_and_families_have_theirs():
    found = shapes_of(LOGS, repeated=True)
    assert found.chances.sum() == pytest.approx(1)
    assert found.chances[0] == pytest.approx(FAMILIES["equal"])
    assert sum(FAMILIES.values()) == pytest.approx(1)
    assert np.all(np.linalg.eigvalsh(found.covariances) > -1e-9)


def test_a_plateau_a_peak_and_an_isolated_best_are_among_the_shapes():
    found = (curve for curve in shapes_of(LOGS, repeated=True).curves if curve.any())
    curves = {tuple(np.round(curve / abs(curve).max(), 6)) for curve in found}
    assert (0.0, 0.0, -0.5, -1.0) in curves  # falling beyond 16
    assert (-1.0, -0.5, 0.0, 0.0) in curves  # falling below 32
    assert (-1.0, 0.0, -1.0, -2.0) not in curves
    assert (-0.5, 0.0, -0.5, -1.0) in curves  # the peak at 16
    assert (0.0, 0.0, 1.0, 0.0) in curves
    assert (0.0, 0.0, -1.0, 0.0) not in curves


def test_without_repeats_no_size_stands_alone():
    found = shapes_of(LOGS, repeated=False)
    assert found.chances.sum() == pytest.approx(1)
    assert len(found.chances) < len(shapes_of(LOGS, repeated=True).chances)
    assert found.curves.max() == 0


def test_the_kernel_falls_with_the_distance():
    r = math.sqrt(3) * math.log(4) / 2.0
    assert matern(LOGS, 2.0)[0, 2] == pytest.approx((1 + r) * math.exp(-r))
    assert np.diag(matern(LOGS, 2.0)) == pytest.approx(np.ones(4))
