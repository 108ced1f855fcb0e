from __future__ import annotations

import numpy as np
import pytest

from tuning.proposals.evidence import fit_cost

SIZES = np.array([4.0, 8, 32, 64, 256, 16, 128, 512])


def test_the_two_terms_are_found_again() -> None:
    model = fit_cost(SIZES, np.empty((8, 0)), 1000 / SIZES + 3.0)
    assert model is not None
    assert (model.overhead, model.compute) == pytest.approx((1000.0, 3.0))
    assert model.log_seconds(np.array([50.0]), np.empty((1, 0))) == pytest.approx(np.log(23.0))


def test_a_wider_model_costs_a_factor_more() -> None:
    random = np.random.default_rng(0)
    sizes = 2.0 ** random.integers(2, 9, 60)
    widths = random.random((60, 1))
    model = fit_cost(sizes, widths, (1000 / sizes + 3.0) * np.exp(4.0 * widths[:, 0]))
    assert model is not None
    assert model.weights[0] == pytest.approx(4.0, rel=0.1)  # the ridge takes a few per cent
    ratio = model.log_seconds(np.array([4.0]), widths[:1]) - model.log_seconds(np.array([256.0]), widths[:1])
    assert ratio[0] == pytest.approx(np.log(253.0 / (1000 / 256 + 3.0)), abs=0.1)


def test_one_batch_size_tells_nothing_about_others() -> None:
    assert fit_cost(np.array([8.0, 8.0]), np.empty((2, 0)), np.array([1.0, 1.1])) is None
