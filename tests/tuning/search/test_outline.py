"""What a staged search says before it starts, and between its stages."""

from __future__ import annotations

from tuning.machine.facts import NoiseFacts
from tuning.machine.noise import NoiseFindings
from tuning.messages import NoiseScalePoint
from tuning.search.measuring import read_noise
from tuning.show.notes import tell_noise, tell_plan, tell_search
from tuning.study.staged.forecast import Forecast
from tuning.study.staged.question import Question
from tuning.study.staged.reference import Reference

QUESTION = Question("val_accuracy", maximize=True, epochs=5, n_train=1000)
FORECAST = Forecast(64, 7, 15, 18, (4, 8, 16, 32, 64, 128), 300.0)


def test_the_plan_tells_how_many_trainings_and_how_long() -> None:
    assert tell_plan(FORECAST, QUESTION) == (
        "Plan: about 40 trainings in 5.0 minutes: 7 trainings at batch size 64, then 3 learning rates at each of 5 "
        "other sizes, then 3 fresh seeds for each size; more where a best learning rate is at an edge or the race is "
        "close."
    )


def test_a_single_batch_size_is_told_without_the_others() -> None:
    told = tell_plan(Forecast(64, 7, 0, 3, (64,), 10.0), QUESTION)
    assert "7 trainings at batch size 64, then 3 fresh seeds for each size" in told


def test_after_the_reference_the_target_and_the_sizes_are_told() -> None:
    told = tell_search(FORECAST, QUESTION, Reference(64, 0.0127, 0.9524, 6000.0), NoiseFacts(97.3))
    assert told == (
        "Reference: batch size 64 with a learning rate of 0.0127; the target is val_accuracy 0.9524. The gradient "
        "noise scale is about 97.3. Batch sizes: 4, 8, 16, 32, 64, 128; about 33 trainings in 5.0 minutes."
    )


def test_a_noise_scale_that_is_not_known_is_told_with_its_reason_and_its_bound() -> None:
    point = NoiseScalePoint(0, None, 400.0, None, 1.0, 0.0)
    assert tell_noise(read_noise(NoiseFindings((point,)))) == (
        "The gradient noise scale is not known (the gradient cannot be told from 0 with so few examples, only that it "
        "is at least 400); 400 is assumed."
    )
    assert "(the worker died); 256 is assumed" in tell_noise(read_noise(NoiseFindings(reason="the worker died.")))


def test_the_noise_scale_of_a_training_is_its_mean_else_its_last_value() -> None:
    first, last = (NoiseScalePoint(at, 100.0 * at, 1.0, 1e4, 1.0, 1.0) for at in (1, 4))
    unknown = NoiseScalePoint(2, None, 5.0, None, 1.0, 0.0)
    mean = read_noise(NoiseFindings((first, last))).noise_scale
    assert mean is not None
    assert 100.0 < mean < 400.0
    assert read_noise(NoiseFindings((first, unknown, last))).noise_scale == 400.0
