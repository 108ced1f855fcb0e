from __future__ import annotations

import pytest

from tuning.record.direction import infer_mode


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
    assert infer_mode(metric) == mode
