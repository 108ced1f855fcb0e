import json
import math

import pytest

from tuning.selection.recommendation import NothingToRecommend, recommend
from tuning.selection.results import TrialResult
from tuning.trial import Status


def study(means, *, noise=(0.002, -0.001, -0.001), rates=None, **extra):
    """Completed trials with these means by batch size; the noise by seed changes its order with the batch size."""
    return [
        TrialResult(
            size,
            seed,
            Status.COMPLETED,
            objective=mean + noise[(seed + i) % len(noise)],
            examples_per_second=None if rates is None else rates[size],
            **extra,
        )
        for i, (size, mean) in enumerate(sorted(means.items()))
        for seed in range(len(noise))
    ]


RATES = {8: 500.0, 32: 2000.0, 128: 6000.0, 512: 9000.0}


def verdicts(recommendation):
    return {row.batch_size: row.verdict for row in recommendation.table}


def test_fastest_takes_the_cheapest_that_is_not_worse():
    found = recommend(study({8: 0.95, 32: 0.9502, 128: 0.9498, 512: 0.90}, rates=RATES), maximize=True)
    assert found.batch_size == 128
    assert verdicts(found) == {8: "tied", 32: "tied", 128: "recommended", 512: "worse"}


def test_quality_takes_the_best_mean_whatever_it_costs():
    results = study({8: 0.9503, 32: 0.9502, 128: 0.9498}, rates=RATES)
    assert recommend(results, maximize=True, rule="quality").batch_size == 8


def test_smaller_is_better_when_minimising():
    found = recommend(study({8: 0.30, 32: 0.25, 128: 0.40}, rates=RATES), maximize=False, objective="val_loss")
    assert found.batch_size == 32
    assert next(row for row in found.table if row.batch_size == 32).objective_mean == pytest.approx(0.25)


def test_one_seed_recommends_the_best_mean_and_says_that_the_noise_is_unknown():
    found = recommend(study({8: 0.91, 32: 0.93, 128: 0.92}, noise=(0.0,)), maximize=True)
    assert found.batch_size == 32
    assert any("noise is unknown" in caveat for caveat in found.caveats)


def test_one_batch_size_says_that_nothing_was_compared():
    found = recommend(study({32: 0.93}), maximize=True)
    assert found.batch_size == 32
    assert any("nothing was compared" in reason for reason in found.reasons)


def test_sizes_without_a_score_say_how_they_ended():
    results = [
        *study({8: 0.91, 32: 0.93}),
        TrialResult(64, 0, Status.OUT_OF_MEMORY),
        TrialResult(128, 0, Status.DIVERGED),
        TrialResult(256, 0, Status.FAILED),
    ]
    found = recommend(results, maximize=True)
    assert {b: v for b, v in verdicts(found).items() if b > 32} == {64: "out_of_memory", 128: "diverged", 256: "failed"}
    assert found.trials == {
        "completed": 6,
        "pruned": 0,
        "out_of_memory": 1,
        "diverged": 1,
        "failed": 1,
        "interrupted": 0,
    }


def test_json_holds_no_value_that_json_cannot():
    results = [
        *study({8: 0.91, 32: 0.93}, hyperparameters=(("units", 64),)),
        TrialResult(64, 0, Status.COMPLETED, objective=math.nan),
    ]
    plain = recommend(results, maximize=True, target=0.99).to_json()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["hyperparameters"] == {"units": 64}


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ([], "got no trial at all"),
        ([TrialResult(8, 0, Status.FAILED, reason="no such layer")], "got 1 failed. First reason: no such layer"),
        ([TrialResult(8, 0, Status.COMPLETED, objective=math.inf)], "finite score; got 1 completed"),
    ],
)
def test_nothing_completed_is_refused_in_one_line(results, message):
    with pytest.raises(NothingToRecommend, match=message):
        recommend(results, maximize=True)


def test_unknown_rule_and_negative_tolerance_are_refused():
    with pytest.raises(ValueError, match="rule must be one of fastest, balanced, quality; got 'best'"):
        recommend(study({8: 0.9}), maximize=True, rule="best")
    with pytest.raises(ValueError, match="tolerance must not be negative; got -1"):
        recommend(study({8: 0.9}), maximize=True, tolerance=-1)
