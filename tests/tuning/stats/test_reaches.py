import math

import pytest

from tuning.objective import Objective
from tuning.stats.rate_profile import Reach
from tuning.stats.reaches import above_rule, reaches_of, run_noise
from tuning.trial import CONFIRM, SEARCH, Status, finished_trial

MAX = Objective("val_accuracy")


def run(rate, examples, *, size=32, seed=0, hits=True, stage=SEARCH, status=Status.COMPLETED):
    curve = ((examples // 2, 0.1), (examples, 0.9 if hits else 0.5))
    score = curve[-1][1] if status is Status.COMPLETED else None
    return finished_trial(size, seed, score, learning_rate=rate, stage=stage, curve=curve, status=status)


def test_seeds_are_averaged_and_fresh_ones_left_out():
    trials = [run(0.1, 400), run(0.1, 1600, seed=1), run(0.1, 9, seed=2, stage=CONFIRM), run(0.3, 400, hits=False)]
    first, second = reaches_of(trials, 0.9, MAX)[32]
    assert first == Reach(above_rule(0.1, 32), pytest.approx(math.log(800)), True, 2)
    assert (second.log_rate, second.reached) == (above_rule(0.3, 32), False)


def test_what_was_stopped_or_diverged_has_missed_and_what_failed_says_nothing():
    ends = (Status.PRUNED, Status.DIVERGED, Status.FAILED)
    trials = [run(0.1 * 3**i, 400, hits=False, status=status) for i, status in enumerate(ends)]
    assert [each.reached for each in reaches_of(trials, 0.9, MAX)[32]] == [False, False]


def test_the_rule_is_the_square_root():
    assert above_rule(0.2, 128) == pytest.approx(above_rule(0.1, 32))


def test_the_noise_stays_within_what_is_likely():
    assert [run_noise(each) for each in (None, math.nan, 0.0, 0.15, 9.0)] == [0.1, 0.1, 0.02, 0.15, 0.3]
