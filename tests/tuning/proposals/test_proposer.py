from __future__ import annotations

import numpy as np
import pytest

from tuning.proposals.axes import Array, Axis, Space
from tuning.proposals.evidence import Observations
from tuning.proposals.proposer import Proposer, Wish, own_share

SPACE = Space([Axis(tuple(np.linspace(0, 1, 8))), Axis()])
NOTHING = np.empty((0, 2))


def truth(points: Array) -> Array:
    """Best at the sixth level and a third of the second axis."""
    return np.asarray(-((points[:, 0] / 7 - 5 / 7) ** 2) - 2 * (points[:, 1] - 0.33) ** 2)


def wish(*, largest: float = 7.0, thrift: float = 0.0) -> Wish:
    """Larger levels cost more."""
    return Wish(lambda points: points[:, 0] <= largest, lambda points: points[:, 0], thrift)


def seen(count: int, *, noise: float = 0.0, seed: int = 0) -> Observations:
    random = np.random.default_rng(seed)
    points = SPACE.random(count, random)
    return Observations(points, truth(points) + random.normal(scale=noise, size=count))


def test_the_best_point_is_found_in_a_few_steps() -> None:
    found = []
    for seed in range(5):
        proposer, known = Proposer(SPACE, seed), seen(5, seed=seed)
        for _ in range(10):
            point = proposer.propose(known, NOTHING, wish())
            known = Observations(np.vstack([known.points, point]), np.append(known.values, truth(point[None, :])))
        found.append(known.values.max())
    assert np.median(found) > -0.001  # 15 random points reach -0.01 in the median


def test_nothing_is_proposed_that_may_not_be_tried() -> None:
    assert all(Proposer(SPACE, seed).propose(seen(8), NOTHING, wish(largest=2.0))[0] <= 2 for seed in range(5))


def test_cost_pulls_towards_cheap_points_while_it_counts() -> None:
    dear, cheap = (
        np.mean([Proposer(SPACE, seed).propose(seen(8), NOTHING, wish(thrift=c))[0] for seed in range(5)])
        for c in (0.0, 5.0)
    )
    assert cheap < dear


@pytest.mark.parametrize("repeats", [1, 2, 5])
def test_the_share_that_is_a_points_own_is_what_normal_values_tell_of_it(repeats: int) -> None:
    of_one = float(own_share(np.array([1.0]))[0])
    values = of_one * np.ones((repeats, repeats)) + (1 - of_one) * np.eye(repeats)  # their covariance
    told = of_one * np.ones(repeats) @ np.linalg.solve(values, np.ones(repeats))  # of the point, by values of mean 1
    assert own_share(np.array([float(repeats)])) == pytest.approx(told)


def test_what_is_expected_lies_between_a_points_values_and_its_neighbours() -> None:
    line = np.column_stack([np.arange(8.0), np.full(8, 0.5)])
    values = np.where(np.arange(8) == 4, 1.0, 0.1 * np.arange(8))
    once = Proposer(SPACE, 0).expect(Observations(line, values))
    assert once[5] < once[4] < 8 * once[5]
    often = Observations(np.vstack([line, line, line]), np.tile(values, 3))
    thrice = Proposer(SPACE, 0).expect(often)
    assert thrice[4] == pytest.approx(thrice[12])
    assert thrice[4] - thrice[5] > once[4] - once[5]


def test_parallel_proposals_differ() -> None:
    proposer, known = Proposer(SPACE, 0), seen(6)
    pending: list[Array] = []
    for _ in range(4):
        pending.append(proposer.propose(known, np.array(pending).reshape(-1, 2), wish()))
    distances = [np.abs(a - b).max() for i, a in enumerate(pending) for b in pending[:i]]
    assert min(distances) > 0.01


def test_a_diverged_training_keeps_proposals_away() -> None:
    points = SPACE.random(12, np.random.default_rng(3))
    values = np.where(points[:, 1] > 0.5, np.nan, 0.5 + 0.01 * points[:, 0])
    proposals = [Proposer(SPACE, seed).propose(Observations(points, values), NOTHING, wish())[1] for seed in range(8)]
    assert np.mean(np.array(proposals) < 0.5) > 0.6


def test_a_point_is_repeated_only_where_noise_hides_which_is_best() -> None:
    points = np.array([[size, rate] for size in range(8) for rate in (0.0, 1.0)], dtype=float)
    only_these = Space([Axis(tuple(np.linspace(0, 1, 8))), Axis((0.0, 1.0))])
    random = np.random.default_rng(4)
    noisy = Observations(points, random.normal(size=16))
    proposal = Proposer(only_these, 0).propose(noisy, NOTHING, wish())
    assert (proposal == points).all(axis=1).any()  # all have been tried, so that only a repeat can teach anything
