"""The gradient noise scale by training progress, measured along one short training."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tuning.machine.asking import ask_again
from tuning.messages import NoiseScalePoint, NoiseScaleRequest, NoiseScales
from tuning.run.executor import Executor
from tuning.trial import HyperparameterValue, TrialOutcome

BATCH_SIZE = 32
"""Of the training along which it is measured: Keras's own, at which the model's learning rate is taken to be right."""

_PATIENCE_S = 20.0


@dataclass(frozen=True)
class NoiseFindings:
    """How noisy the gradient is.

    Args:
        points: By examples seen; empty if it could not be measured.
        reason: Why it could not.
    """

    points: tuple[NoiseScalePoint, ...] = ()
    reason: str = ""

    @property
    def last(self) -> NoiseScalePoint | None:
        """The latest moment at which it could be told from infinity."""
        return next((point for point in reversed(self.points) if point.value is not None), None)

    @property
    def mean(self) -> float | None:
        """Geometric mean over the training, each stretch weighted by its length; None if any moment is unknown.

        A rough forecast of the critical batch size: within an order of magnitude.

        Source: McCandlish et al., An Empirical Model of Large-Batch Training (2018), section 2.
        """
        values = [(point.at_examples, point.value) for point in self.points]
        if not values or any(value is None for _, value in values):
            return None
        logs = [(at, math.log(value)) for at, value in values if value is not None]
        if logs[-1][0] == logs[0][0]:
            return math.exp(logs[-1][1])
        area = sum((b - a) * (low + high) / 2 for (a, low), (b, high) in itertools.pairwise(logs))
        return math.exp(area / (logs[-1][0] - logs[0][0]))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        last = self.last
        head = (None, None, None, None) if last is None else (last.value, last.low, last.high, last.at_examples)
        found: dict[str, Any] = dict(zip(("value", "low", "high", "at_examples"), head, strict=True))
        found["mean_over_training"] = self.mean
        found["points"] = [
            {"at_examples": point.at_examples, "value": point.value, "low": point.low, "high": point.high}
            for point in self.points
        ]
        return found | ({"reason": self.reason} if self.reason else {})


def probe_noise(
    executor: Executor,
    *,
    n_train: int,
    epochs: int,
    seconds_per_update: float | None = None,
    largest_batch_size: int | None = None,
    hyperparameters: Mapping[str, HyperparameterValue] | None = None,
) -> NoiseFindings:
    """Train plain Keras at batch size 32, or the largest that fits if that is less, and measure on the way.

    Args:
        executor: Whose first device measures.
        n_train: Training examples.
        epochs: Of the training that is searched; fewer updates are done where these would take over 20 s.
        seconds_per_update: Of plain Keras near that batch size, None if unknown.
        largest_batch_size: That fits, None if unknown.
        hyperparameters: Values for the build function's `hp`, by name.
    """
    size = max(1, min(BATCH_SIZE, n_train, largest_batch_size or n_train))
    updates = max(1, epochs * n_train // size)
    if seconds_per_update is not None:
        updates = max(1, min(updates, int(_PATIENCE_S / seconds_per_update)))
    request = NoiseScaleRequest("noise-scale", size, updates, hyperparameters=dict(hyperparameters or {}))
    answer = ask_again(executor, request)
    if isinstance(answer, NoiseScales):
        return NoiseFindings(answer.points)
    assert isinstance(answer, TrialOutcome)
    return NoiseFindings(reason=answer.reason)
