"""Whether more or less of a metric is better, as far as its name tells."""

from __future__ import annotations

import re

_MORE = frozenset(("accuracy", "acc", "auc", "precision", "recall", "f1", "iou", "dice", "r2", "bleu", "reward"))
_LESS = frozenset(
    ("loss", "error", "mse", "mae", "rmse", "mape", "msle", "crossentropy", "ce", "nll", "perplexity", "wer", "cer")
)


def infer_mode(metric: str) -> str | None:
    """Return "max" or "min" for a name such as `val_accuracy` or `MeanSquaredError`; None if it tells neither or both.

    >>> infer_mode("val_sparse_categorical_accuracy"), infer_mode("loss"), infer_mode("seconds")
    ('max', 'min', None)
    """
    words = set(re.findall(r"[a-z]+\d*", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", metric).lower()))
    more, less = not words.isdisjoint(_MORE), not words.isdisjoint(_LESS)
    if more == less:
        return None
    return "max" if more else "min"
