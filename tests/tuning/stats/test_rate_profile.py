import math

import numpy as np
import pytest
from scipy import stats

from tuning.stats.rate_profile import CURVATURES, DRIFT, Reach, rate_profiles, rise

STEP = math.log(3)


def likelihood(runs, sigma, optima):
    """p(runs | q, v*), the level on a fine grid; (curvatures, optima)."""
    levels = np.linspace(-70, 20, 4501)
    found = np.zeros((len(CURVATURES), len(optima)))
    for i, q in enumerate(CURVATURES):
        joint = np.ones((len(optima), len(levels)))
        for run in runs:
            risen = q * rise(run.log_rate - optima)[:, None]
            spread = np.hypot(sigma / math.sqrt(run.seeds), 0.3 * risen)
            z = (run.log_examples - levels - risen) / spread
            joint *= stats.norm.pdf(z) / spread if run.reached else stats.norm.sf(z)
        found[i] = joint.sum(axis=1)
    return found * np.exp(-0.5 * (np.log(CURVATURES / 2) / 0.6) ** 2)[:, None]


def moments(weights, optima, log_rate):
    weights = weights / weights.sum()
    losses = CURVATURES[:, None] * rise(log_rate - optima)
    mean = (weights * losses).sum()
    return mean, (weights * (losses - mean) ** 2).sum()


@pytest.mark.parametrize(
    "runs",
    [
        [Reach(0.0, 0.0, True), Reach(-STEP, 0.9, True), Reach(STEP, 0.6, True)],
        [Reach(0.0, 0.0, True), Reach(-STEP, 0.2, True, seeds=3), Reach(STEP, 0.7, False)],
    ],
    ids=["all reached", "one missed"],
)
def test_the_loss_is_that_of_the_censored_model(runs):
    found = rate_profiles({32: runs}, 0.1)[32]
    mean, variance = moments(likelihood(runs, 0.1, found.optima), found.optima, 0.0)
    assert found.loss(0.0).mean == pytest.approx(mean, rel=1e-3)
    assert found.loss(0.0).variance == pytest.approx(variance, rel=5e-3)


def test_a_size_learns_of_its_best_rate_from_its_neighbours_as_the_joint_model_has_it():
    first = [Reach(0.0, 0.0, True), Reach(-STEP, 0.9, True), Reach(STEP, 0.6, True)]
    second = [Reach(0.0, 0.0, True), Reach(STEP, 0.1, True)]
    found = rate_profiles({8: first, 32: second}, 0.1)
    optima = found[8].optima
    near = np.exp(-0.5 * (optima[:, None] - optima) ** 2 / (2 * DRIFT**2))  # two doublings
    ours, theirs = likelihood(first, 0.1, optima), likelihood(second, 0.1, optima)
    prior = np.exp(-0.5 * (np.log(CURVATURES / 2) / 0.6) ** 2)[:, None]
    joint = {8: ours * (theirs @ near.T) / prior, 32: theirs * (ours @ near) / prior}
    for size, weights in joint.items():
        assert found[size].loss(0.3).mean == pytest.approx(moments(weights, optima, 0.3)[0], rel=1e-3)


def test_too_high_a_rate_costs_more_than_too_low_a_one():
    assert rise(np.array([0.5])) == pytest.approx(2 * rise(np.array([-0.5])))
    assert rise(np.array([-1.0, -3.0])) == pytest.approx([0.5, 2.5])


def test_neighbours_half_a_step_away_tell_that_less_is_lost():
    wide = [Reach(0.0, 0.0, True), Reach(-STEP, 0.7, False), Reach(STEP, 0.7, False)]
    near = [*wide, Reach(-STEP / 2, 0.3, True), Reach(STEP / 2, 0.3, True)]
    found = [rate_profiles({8: runs}, 0.1)[8].loss(0.0).mean for runs in (wide, near)]
    assert found[1] < 0.6 * found[0]


def test_sizes_share_the_curvature():
    flat = [Reach(0.0, 0.0, True), Reach(-STEP, 0.2, True), Reach(STEP, 0.2, True)]
    doubtful = [Reach(0.0, 0.0, True), Reach(STEP, 0.1, False)]
    together, alone = rate_profiles({8: doubtful, 16: flat, 32: flat}, 0.05), rate_profiles({8: doubtful}, 0.05)
    assert together[8].loss(0.0).mean < alone[8].loss(0.0).mean


def test_sizes_that_say_nothing_have_no_profile():
    alone, in_vain = [Reach(0.0, 0.0, True)], [Reach(0.0, 0.7, False), Reach(STEP, 0.7, False)]
    assert rate_profiles({8: alone, 16: in_vain}, 0.1) == {}


def test_the_rates_expected_to_lose_least_are_nearer_to_the_best_than_those_of_the_soonest_trainings():
    """Five rates at five sizes with a noise of 0.3, 40 times: the mean loss is less, by over two standard errors."""
    random, sizes, differences = np.random.default_rng(0), (8, 16, 32, 64, 128), []
    for _ in range(40):
        best = random.uniform(-0.5, 0.5) + np.cumsum(random.normal(0, 0.3, 5))
        tried = [[0.0, *(STEP * np.array([-1, -0.5, 0.5, 1]))] for _ in sizes]
        true = [2 * rise(np.array(rates) - optimum) for rates, optimum in zip(tried, best, strict=True)]
        seen = [each + random.normal(0, 0.3, 5) for each in true]
        runs = {size: [Reach(*run, True) for run in zip(*each, strict=True)]
                for size, each in zip(sizes, zip(tried, seen, strict=True), strict=True)}  # fmt: skip
        profiles = rate_profiles(runs, 0.3)
        for size, rates, losses, logs in zip(sizes, tried, true, seen, strict=True):
            chosen = min(range(5), key=lambda i: profiles[size].loss(rates[i]).mean)
            differences.append(losses[int(np.argmin(logs))] - losses[chosen])
    assert np.mean(differences) > 2 * np.std(differences) / math.sqrt(len(differences))
