"""A fresh score is placed among those of a study's seeds by the interval that the textbook gives."""

import dataclasses
import math

import pytest

from tuning.objective import Objective
from tuning.stats.fresh_seed import FreshScore, scores_after
from tuning.trial import finished_trial

OBJECTIVE = Objective("val_accuracy", "max")


def test_the_interval_is_the_closed_form():
    # mean 2, s = 1, t(2) at 97.5 % = 4.302653 by any table
    low, high = FreshScore(2.0, (1.0, 2.0, 3.0), "m").interval
    half = 4.302653 * math.sqrt(1 + 1 / 3)
    assert (low, high) == (pytest.approx(2 - half, abs=1e-5), pytest.approx(2 + half, abs=1e-5))


def test_the_interval_of_a_share_ends_where_shares_end():
    assert FreshScore(0.99, (0.9, 0.99), "val_accuracy").interval[1] == 1.0
    assert FreshScore(0.01, (0.0, 0.2), "auc").interval[0] == 0.0
    assert FreshScore(0.99, (0.9, 0.99), "val_loss").interval[1] > 1.0
    assert FreshScore(3.0, (0.9, 0.99), "accuracy").interval[1] > 1.0  # no share, whatever it is called


@pytest.mark.parametrize(("score", "word"), [(2.5, "inside"), (7.1, "outside"), (-3.1, "outside")])
def test_it_is_told_whether_the_score_was_expected(score, word):
    assert word in FreshScore(score, (1.0, 2.0, 3.0), "m").tell()


def test_a_single_seed_and_none_give_no_range():
    assert "one seed" in FreshScore(2.0, (1.0,), "m").tell()
    assert FreshScore(2.0, (1.0,), "m").to_json()["is_expected"] is None
    assert "no score" in FreshScore(2.0, (), "m").tell()


def test_scores_are_those_after_as_many_epochs():
    trials = [finished_trial(8, seed, 0.9 + seed / 100, curve=[(64, 0.5 + seed), (128, 0.9)]) for seed in (0, 1)]
    assert scores_after(trials, 1, objective=OBJECTIVE) == {0: 0.5, 1: 1.5}
    assert scores_after(trials, 9, objective=OBJECTIVE) == {0: 0.9, 1: 0.91}


def test_a_trial_that_went_back_to_earlier_weights_counts_by_those():
    trial = finished_trial(8, 0, 0.9, curve=[(64, 0.9), (128, 0.1)])
    trial = dataclasses.replace(trial, outcome=dataclasses.replace(trial.outcome, weights_epoch=1))
    assert scores_after([trial], 2, objective=OBJECTIVE) == {0: 0.9}
