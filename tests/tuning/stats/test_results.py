import math

import pytest

from tuning.stats.results import TrialResult, count_by_status, mean_by_seed
from tuning.trial import Status


def test_only_a_finite_score_of_a_completed_trial_counts():
    assert TrialResult(8, 0, Status.COMPLETED, objective=0.5).scored
    assert not TrialResult(8, 0, Status.COMPLETED).scored
    assert not TrialResult(8, 0, Status.COMPLETED, objective=math.nan).scored
    assert not TrialResult(8, 0, Status.PRUNED, objective=0.5).scored


def test_completed_without_a_finite_score_has_diverged():
    assert TrialResult(8, 0, Status.COMPLETED, objective=math.inf).outcome is Status.DIVERGED
    assert TrialResult(8, 0, Status.COMPLETED, objective=0.5).outcome is Status.COMPLETED
    assert TrialResult(8, 0, Status.FAILED).outcome is Status.FAILED


def test_counts_hold_every_status():
    counts = count_by_status([TrialResult(8, 0, Status.FAILED), TrialResult(8, 1, Status.FAILED)])
    assert counts["failed"] == 2
    assert list(counts) == [status.value for status in Status]


def test_repeats_of_a_seed_are_averaged():
    assert mean_by_seed([(1, 3.0), (0, 1.0), (1, 5.0), (2, None)]) == {0: 1.0, 1: 4.0}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1; got 0"),
        ({"examples_seen": (1, 2), "objective_curve": (0.1,)}, "one value per evaluation; got 2 and 1"),
        ({"examples_seen": (2, 2), "objective_curve": (0.1, 0.2)}, r"examples_seen must increase; got \(2, 2\)"),
    ],
)
def test_impossible_trials_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        TrialResult(**{"batch_size": 8, "seed": 0, "status": Status.COMPLETED} | fields)
