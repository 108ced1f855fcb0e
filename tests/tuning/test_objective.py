from __future__ import annotations

import math

import pytest

from tuning.objective import Objective, infer_direction


@pytest.mark.parametrize(
    ("metric", "mode"),
    [
        ("val_accuracy", "max"),
        ("acc", "max"),
        ("val_top_k_categorical_accuracy", "max"),
        ("test/AUC", "max"),
        ("f1_score", "max"),
        ("loss", "min"),
        ("val_loss", "min"),
        ("MeanSquaredError", "min"),
        ("val_mean_absolute_percentage_error", "min"),
        ("sparse_categorical_crossentropy", "min"),
        ("eval.rmse", "min"),
        ("throughput", None),
        ("accuracy_loss", None),
        ("accent", None),
    ],
)
def test_the_name_of_a_metric_tells_its_direction_or_nothing(metric: str, mode: str | None) -> None:
    assert infer_direction(metric) == mode


@pytest.mark.parametrize(("direction", "good", "bad"), [("max", 0.9, 0.8), ("min", 0.1, 0.2)])
def test_the_direction_says_which_of_two_scores_is_better(direction: str, good: float, bad: float) -> None:
    objective = Objective("score", direction)
    assert objective.better(good, bad)
    assert not objective.better(bad, good)
    assert not objective.better(good, good)
    assert objective.reaches(good, good)
    assert objective.reaches(good, bad)
    assert not objective.reaches(bad, good)
    assert objective.best([bad, math.nan, good]) == good
    assert objective.worst([good, math.nan, bad]) == bad


def test_nan_is_never_better_and_reaches_nothing() -> None:
    objective = Objective("val_loss", "min")
    assert not objective.better(math.nan, 1.0)
    assert not objective.reaches(math.nan, 1.0)
    assert math.isnan(objective.best([math.nan]))


def test_a_direction_that_is_neither_is_refused_with_the_way_out() -> None:
    with pytest.raises(ValueError, match=r"must be max or min; got .up.\. Write score:max or score:min"):
        Objective("score", "up")
