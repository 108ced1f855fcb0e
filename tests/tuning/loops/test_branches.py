"""Branches of a training, in a worker's session."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from training_helpers import N_TRAIN, dense_model, make_data

from search_spaces.data import Data
from tuning.loops.session import TrainingSession
from tuning.noise_messages import Branches, BranchRequest
from tuning.trial import TrialOutcome


def branched(build: Any = dense_model, **asked: Any) -> Branches:
    found = TrainingSession(build, make_data()).probe(BranchRequest("b", **asked))
    assert isinstance(found, Branches), found
    return found


@pytest.fixture(scope="module")
def found() -> Branches:
    """Size 10 hardly learns, at its rate."""
    return branched(batch_sizes=(5, 10), learning_rates=(0.01, 1e-9), updates=10, examples=40, repeats=2)


def test_every_size_is_trained_on_several_times_and_its_loss_taken_on_the_way(found: Branches) -> None:
    assert found.at_examples == N_TRAIN
    assert [(each.batch_size, each.repeat) for each in found.branches] == [(5, 0), (5, 1), (10, 0), (10, 1)]
    assert found.branches[0].examples == (5, 10, 20, 30, 40)
    assert found.branches[2].examples == (10, 20, 30, 40)
    assert all(len(each.losses) == len(each.examples) for each in found.branches)


def test_every_branch_begins_at_the_trunk_and_has_examples_and_a_rate_of_its_own(found: Branches) -> None:
    first, second, *still = found.branches
    assert np.ptp([found.start, *still[0].losses, *still[1].losses]) < 1e-5
    assert np.ptp(first.losses) > 1e-3
    assert first.losses != second.losses
    assert abs(second.losses[0] - found.start) < abs(first.losses[-1] - found.start)  # it does not go on from the first


def test_a_branch_like_its_trunk_goes_on_as_one_training() -> None:
    """Weights, momentum and count of updates are the trunk's: 4 and 6 updates on all examples are 10 of them."""

    def build() -> Any:
        return dense_model(keras.optimizers.Adam(0.05))

    alike = {"batch_sizes": (N_TRAIN,), "learning_rates": (0.05,), "repeats": 1}
    branch = branched(build, **alike, updates=4, examples=6 * N_TRAIN)
    whole = branched(build, **alike, updates=10, examples=N_TRAIN)
    assert branch.branches[0].losses[-1] == pytest.approx(whole.start, rel=1e-4)


def test_data_without_targets_are_not_branched() -> None:
    data = make_data()
    session = TrainingSession(dense_model, Data(data.x_train, None, data.x_val, None))
    found = session.probe(BranchRequest("b", (5,), (0.01,), 1, 10))
    assert isinstance(found, TrialOutcome)
    assert found.reason == "branches are compared by the loss on targets, and these data have none"
