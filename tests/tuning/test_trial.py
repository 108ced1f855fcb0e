"""The one record of a training: what it refuses, and what it says of itself."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from search_spaces.space import Setting
from tuning.instructions import Budget, Goal, Instructions
from tuning.objective import Objective
from tuning.trial import EpochReport, Status, Trial, finished_trial

SETTING = Setting(8, 0.1, (("units", 4),))


def report(epoch: int, examples: int, **metrics: float) -> EpochReport:
    return EpochReport("t", epoch, examples, epoch, metrics, 0.1)


def test_only_a_completed_trial_with_a_finite_score_can_be_compared() -> None:
    assert finished_trial(8, 0, 0.5).scored
    assert not finished_trial(8, 0, None).scored
    assert not finished_trial(8, 0, math.nan).scored
    assert not finished_trial(8, 0, 0.5, status=Status.PRUNED).scored


def test_a_score_that_is_no_number_counts_as_diverged() -> None:
    assert finished_trial(8, 0, math.inf).judged_status is Status.DIVERGED
    assert finished_trial(8, 0, 0.5).judged_status is Status.COMPLETED
    assert finished_trial(8, 0, None, status=Status.FAILED).judged_status is Status.FAILED


def test_interrupted_and_lost_trials_are_not_settled() -> None:
    settled = {status: finished_trial(8, 0, None, status=status).is_settled for status in Status}
    assert [status for status, is_settled in settled.items() if not is_settled] == [Status.INTERRUPTED, Status.LOST]
    assert Trial(SETTING, 0).is_settled


def test_a_curve_holds_the_evaluations_of_one_metric() -> None:
    trial = Trial(SETTING, 0, reports=(report(1, 100, loss=1.0), report(2, 200, loss=0.5, val_loss=0.7)))
    assert trial.curve("loss") == ((100, 200), (1.0, 0.5))
    assert trial.curve("val_loss") == ((200,), (0.7,))
    assert trial.curve("accuracy") == ((), ())
    assert trial.examples_seen == 200


def test_its_values_are_named_as_kerastuner_names_them() -> None:
    assert Trial(SETTING, 0).values == {"units": 4, "batch_size": 8, "learning_rate": 0.1}
    assert Trial(Setting(8, None), 0).values == {"batch_size": 8}


def test_a_goal_is_reached_by_its_metric_alone() -> None:
    goal = Goal(Objective("val_loss", "min"), 0.5)
    assert goal.is_reached({"val_loss": 0.5})
    assert not goal.is_reached({"val_loss": 0.51})
    assert not goal.is_reached({"loss": 0.1})
    assert not goal.is_reached({"val_loss": math.nan})


def test_gradients_are_counted_by_micro_batches() -> None:
    assert Trial(SETTING, 0).accumulation_steps == 1
    assert Trial(SETTING, 0, instructions=Instructions(micro_batch_size=2)).accumulation_steps == 4


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Trial(Setting(0, None), 0), "batch_size must be at least 1; got 0"),
        (lambda: Trial(Setting(8, -0.1), 0), "learning_rate must be positive; got -0.1"),
        (
            lambda: Trial(SETTING, 0, instructions=Instructions(micro_batch_size=3)),
            "must divide the batch size 8; got 3",
        ),
        (lambda: Trial(SETTING, 0, reports=(report(1, 2), report(2, 2))), r"must increase .*; got \[2, 2\]"),
        (lambda: Budget(0), "epochs must be at least 1; got 0"),
        (lambda: Instructions(threads=0), "threads must be at least 1; got 0"),
    ],
)
def test_impossible_trials_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
