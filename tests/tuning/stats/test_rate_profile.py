import math

import numpy as np
import pytest
from scipy import stats

from tuning.stats.rate_profile import CURVATURES, OPTIMA, Reach, rate_losses

STEP = math.log(3)


def brute_force(runs, sigma):
    """Mean and variance of the loss, the level on a fine grid."""
    levels = np.linspace(-3, 3, 2401)
    joint = np.zeros((len(CURVATURES), len(OPTIMA)))
    for i, q in enumerate(CURVATURES):
        likelihood = np.ones((len(OPTIMA), len(levels)))
        for run in runs:
            rise = q * (run.log_rate - OPTIMA[:, None]) ** 2 / 2
            z = (run.log_examples - levels - rise) / np.hypot(sigma, 0.3 * rise)
            likelihood *= stats.norm.pdf(z) / np.hypot(sigma, 0.3 * rise) if run.reached else stats.norm.sf(z)
        joint[i] = likelihood.sum(axis=1) * math.exp(-0.5 * (math.log(q / 2) / 0.6) ** 2)
    joint /= joint.sum()
    losses = CURVATURES[:, None] * OPTIMA**2 / 2
    mean = (joint * losses).sum()
    return mean, (joint * (losses - mean) ** 2).sum()


@pytest.mark.parametrize(
    "runs",
    [
        [Reach(0.0, 0.0, True), Reach(-STEP, 0.9, True), Reach(STEP, 0.6, True)],
        [Reach(0.0, 0.0, True), Reach(-STEP, 0.2, True), Reach(STEP, 0.7, False)],
    ],
    ids=["all reached", "one missed"],
)
def test_the_loss_is_that_of_the_censored_model(runs):
    found = rate_losses({32: runs}, 0.1)[32]
    mean, variance = brute_force(runs, 0.1)
    assert found.mean == pytest.approx(mean, rel=1e-3)
    assert found.variance == pytest.approx(variance, rel=5e-3)


def test_neighbours_half_a_step_away_tell_that_less_is_lost():
    wide = [Reach(0.0, 0.0, True), Reach(-STEP, 0.7, False), Reach(STEP, 0.7, False)]
    near = [*wide, Reach(-STEP / 2, 0.3, True), Reach(STEP / 2, 0.3, True)]
    found = rate_losses({8: wide}, 0.1)[8].mean, rate_losses({8: near}, 0.1)[8].mean
    assert found[1] < 0.5 * found[0]


def test_sizes_share_the_curvature():
    flat = [Reach(0.0, 0.0, True), Reach(-STEP, 0.2, True), Reach(STEP, 0.2, True)]
    doubtful = [Reach(0.0, 0.0, True), Reach(STEP, 0.1, False)]
    assert rate_losses({8: doubtful, 16: flat, 32: flat}, 0.05)[8].mean < rate_losses({8: doubtful}, 0.05)[8].mean


def test_sizes_that_say_nothing_have_no_loss():
    alone, in_vain = [Reach(0.0, 0.0, True)], [Reach(0.0, 0.7, False), Reach(STEP, 0.7, False)]
    assert rate_losses({8: alone, 16: in_vain}, 0.1) == {}
