"""A schedule that follows the batch size takes the same course in examples at every one."""

from __future__ import annotations

import keras
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from tuning.loops.optimizers import highest_rate, length_in_updates, rescaled

schedules = keras.optimizers.schedules
rates = some.floats(1e-4, 1.0)
counts = some.integers(10, 1000)

ANY = some.one_of(
    some.builds(schedules.ExponentialDecay, rates, counts, some.floats(0.1, 0.99)),
    some.builds(schedules.InverseTimeDecay, rates, counts, some.floats(0.1, 2.0)),
    some.builds(schedules.PolynomialDecay, rates, counts, end_learning_rate=some.just(0.0), power=some.floats(0.5, 2)),
    some.builds(schedules.CosineDecay, rates, counts, alpha=some.floats(0.0, 0.5)),
    some.builds(schedules.CosineDecay, some.just(0.0), counts, warmup_target=rates, warmup_steps=counts),
    some.builds(schedules.PiecewiseConstantDecay, some.just([33, 77]), some.lists(rates, min_size=3, max_size=3)),
)


@settings(max_examples=25)
@given(schedule=ANY, power=some.integers(-4, 4), step=some.integers(0, 60), factor=some.floats(0.1, 10.0))
def test_the_course_in_examples_is_the_same_at_every_batch_size(
    schedule: keras.optimizers.schedules.LearningRateSchedule, power: int, step: int, factor: float
) -> None:
    batch_size = 32 * 2.0**power
    followed = rescaled(schedule, rates=factor, counts=32 / batch_size)
    examples = 16 * 32 * step  # a whole number of updates at every batch size
    there, here = float(schedule(examples / 32)), float(followed(examples / batch_size))
    assert here == pytest.approx(factor * there, rel=1e-4, abs=1e-7)
    assert highest_rate(followed) == pytest.approx(factor * highest_rate(schedule))
    length = length_in_updates(schedule)
    if length is not None:
        assert length_in_updates(followed) == pytest.approx(length * 32 / batch_size)
