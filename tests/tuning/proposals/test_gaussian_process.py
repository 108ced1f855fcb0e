from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from tuning.proposals.axes import Array
from tuning.proposals.gaussian_process import (
    GaussianProcess,
    Pooled,
    fit,
    group_distances,
    log_likelihood,
    matern,
    squared_distances,
)

GROUPS = np.array([0, 1, 1])  # the second axis has two columns
LOGS = np.log([0.4, 0.7, 1.3, 0.05])  # lengthscales, signal variance, noise variance


def example(count: int = 6, seed: int = 0) -> tuple[Array, Pooled]:
    random = np.random.default_rng(seed)
    repeats = random.integers(1, 4, count).astype(float)
    return random.random((count, 3)), Pooled(
        random.normal(size=count), repeats, within=0.1 * (repeats - 1), doubts=random.random(count)
    )


def direct_covariance(left: Array, right: Array) -> Array:
    """The kernel one pair at a time, from its textbook formula."""
    scales = np.array([0.4, 0.7, 0.7])
    distance = np.array([[np.linalg.norm((a - b) / scales) for b in right] for a in left])
    scaled = 5**0.5 * distance
    return np.asarray(1.3 * (1 + scaled + scaled**2 / 3) * np.exp(-scaled))


def test_the_kernel_is_that_of_the_textbook() -> None:
    features, _ = example()
    found = 1.3 * matern(squared_distances(features, features[:2], np.array([0.4, 0.7, 0.7])))
    assert found == pytest.approx(direct_covariance(features, features[:2]), abs=1e-7)


def test_the_posterior_is_that_of_the_normal_equations() -> None:
    features, pooled = example()
    asked = np.random.default_rng(1).random((4, 3))
    process = GaussianProcess(features, pooled, logs=LOGS, groups=GROUPS)
    means, variances = process.posterior(asked)
    kernel = direct_covariance(features, features) + np.diag(0.05 / pooled.repeats + pooled.doubts)
    across = direct_covariance(asked, features)
    assert means == pytest.approx(across @ np.linalg.solve(kernel, pooled.means), abs=1e-6)
    expected = direct_covariance(asked, asked) - across @ np.linalg.solve(kernel, across.T)
    assert variances == pytest.approx(np.diag(expected), abs=1e-6)


def test_believing_leaves_the_means_and_lessens_the_variance() -> None:
    features, pooled = example()
    process = GaussianProcess(features, pooled, logs=LOGS, groups=GROUPS)
    pending = np.full((1, 3), 0.5)
    before, after = process.posterior(pending), process.believing(pending).posterior(pending)
    assert after[0] == pytest.approx(before[0], abs=1e-6)
    assert after[1][0] < 1e-3 * before[1][0]  # believed without noise, so that nothing is left to learn there
    assert process.believing(np.empty((0, 3))) is process


def test_the_likelihood_of_pooled_repeats_is_that_of_every_value() -> None:
    features, _ = example(3)
    random = np.random.default_rng(2)
    values = [random.normal(size=count) for count in (1, 3, 2)]
    means = np.array([some.mean() for some in values])
    within = np.array([((some - some.mean()) ** 2).sum() for some in values])
    pooled = Pooled(means, np.array([1.0, 3.0, 2.0]), within, np.zeros(3))
    every = np.repeat(features, [1, 3, 2], axis=0)
    distances = group_distances(features, GROUPS)

    def difference(logs: Array) -> float:
        scales = np.exp(logs[:2])[GROUPS]
        kernel = np.exp(logs[2]) * matern(squared_distances(every, every, scales)) + np.exp(logs[3]) * np.eye(6)
        full = multivariate_normal(np.zeros(6), kernel).logpdf(np.concatenate(values))
        return float(full) - log_likelihood(logs, distances, pooled)[0]

    assert difference(LOGS) == pytest.approx(
        difference(LOGS + np.array([0.3, -0.2, 0.5, 0.7])), abs=1e-4
    )  # but a constant


@pytest.mark.parametrize("index", range(4))
def test_the_gradient_of_the_likelihood_is_that_of_finite_differences(index: int) -> None:
    features, pooled = example()
    distances = group_distances(features, GROUPS)
    step = 1e-5 * np.eye(4)[index]
    above, below = (log_likelihood(LOGS + sign * step, distances, pooled)[0] for sign in (1, -1))
    assert log_likelihood(LOGS, distances, pooled)[1][index] == pytest.approx((above - below) / 2e-5, rel=1e-4)


def test_a_fit_tells_noise_from_signal() -> None:
    random = np.random.default_rng(3)
    features = random.random((80, 1))
    curve = np.sin(6 * features[:, 0])
    spread = []
    for noise in (0.05, 0.5):
        values = (curve + random.normal(scale=noise, size=80)) / curve.std()
        logs = fit(group_distances(features, np.array([0])), Pooled(values, np.ones(80), np.zeros(80), np.zeros(80)))
        spread.append(float(np.exp(logs[-1] / 2)) * curve.std())
    assert spread == pytest.approx([0.05, 0.5], rel=0.35)  # a deviation of 80 values is known to within about 8 %
