"""What follows the batch size, in closed forms."""

from __future__ import annotations

import pytest

from search_spaces.scaling import FOLLOWERS, OFF, TRAINING, Scaling, check_schedule_batch_size, schedule_batch_size


@pytest.mark.parametrize("batch_size", [4, 32, 256])
@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_an_epoch_shrinks_weights_alike_whatever_the_rule_of_the_rate(batch_size: int, exponent: float) -> None:
    rate, decay, examples = 0.001, 0.1, 4096
    scaled_rate = rate * (batch_size / 32) ** exponent
    scaled_decay = decay * Scaling(32, reference_rate=rate).decay_factor(batch_size, scaled_rate)
    assert examples / batch_size * scaled_rate * scaled_decay == pytest.approx(examples / 32 * rate * decay)


def test_without_a_known_rate_only_the_updates_count() -> None:
    assert Scaling(32).decay_factor(128, 0.1) == 4.0
    assert Scaling(32, reference_rate=0.1).decay_factor(128, None) == 4.0
    assert Scaling(32).rate_factor(0.1) == 1.0


def test_the_batch_size_of_a_schedule_is_that_of_the_rate_unless_it_is_told() -> None:
    assert schedule_batch_size(None, at=32, updates=250.0, examples=10_000) == 32.0
    assert schedule_batch_size(64, at=32, updates=250.0, examples=10_000) == 64.0
    assert schedule_batch_size(OFF, at=32, updates=250.0, examples=10_000) is None
    # 250 updates of 40 examples are the 10,000 of a training
    assert schedule_batch_size(TRAINING, at=32, updates=250.0, examples=10_000) == 40.0


def test_a_schedule_without_an_end_cannot_span_a_training() -> None:
    with pytest.raises(ValueError, match="has no end"):
        schedule_batch_size(TRAINING, at=32, updates=None, examples=100)


@pytest.mark.parametrize("asked", [0, -1, True, 1.5, "32", "always"])
def test_what_is_no_batch_size_is_refused(asked: object) -> None:
    with pytest.raises(ValueError, match="must be a batch size, 'off' or 'training'; got"):
        check_schedule_batch_size(asked)  # a user may give anything


def test_every_follower_says_what_why_and_by_default() -> None:
    assert all(each.name and each.rule and each.default and each.why for each in FOLLOWERS)
    assert len({each.name for each in FOLLOWERS}) == len(FOLLOWERS)
