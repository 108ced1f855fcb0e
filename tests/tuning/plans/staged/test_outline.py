"""What a staged search says before it starts, and between its stages."""

from __future__ import annotations

from simulation import MACHINE, goal, noise, plan
from study_helpers import records_of

from tuning.machine.noise import GradientNoise
from tuning.noise_messages import NoiseScalePoint
from tuning.plans.staged.plan import Outline, tell_noise, tell_plan, tell_search
from tuning.plans.staged.reference import Reference

GOAL = goal(epochs=5)
OUTLINE = Outline(64, 7, 15, 18, (4, 8, 16, 32, 64, 128), 300.0)


def test_the_plan_tells_how_many_trainings_and_how_long() -> None:
    assert tell_plan(OUTLINE, GOAL) == (
        "Plan: about 40 trainings in 5.0 minutes: 7 trainings at batch size 64, then 3 learning rates at each of 5 "
        "other sizes, then 2 fresh seeds for each size that may be the best; more where a best learning rate is at "
        "an edge or the race is close."
    )


def test_a_single_batch_size_is_told_without_the_others() -> None:
    told = tell_plan(Outline(64, 7, 0, 3, (64,), 10.0), GOAL)
    assert "7 trainings at batch size 64, then 2 fresh seeds for each size" in told


def test_after_the_reference_the_target_and_the_sizes_are_told() -> None:
    told = tell_search(OUTLINE, GOAL, Reference(64, 0.0127, 0.9524, 6000.0), noise(97.3))
    assert told == (
        "Reference: batch size 64 with a learning rate of 0.0127; the target is val_accuracy 0.9524. The gradient "
        "noise scale is about 97.3. Batch sizes: 4, 8, 16, 32, 64, 128; about 33 trainings in 5.0 minutes."
    )


def test_a_noise_scale_that_is_not_known_is_told_with_its_reason_and_its_bound() -> None:
    point = NoiseScalePoint(0, None, 400.0, None, 1.0, 0.0)
    assert tell_noise(GradientNoise((point,))) == (
        "The gradient noise scale is not known (the gradient cannot be told from 0 with so few examples, only that it "
        "is at least 400); 400 is assumed."
    )
    assert "(the worker died); 256 is assumed" in tell_noise(GradientNoise(reason="the worker died."))


def test_a_plan_tells_what_is_ahead_once_the_machine_is_known() -> None:
    assert plan().outline(records_of()) == ""
    told = plan().outline(records_of(machine=MACHINE))
    assert told.startswith("Plan: about 36 trainings in ")
    assert "9 trainings at batch size 64" in told
