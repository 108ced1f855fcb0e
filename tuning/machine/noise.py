"""The gradient noise scale by training progress, measured along one short training."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tuning.messages import Measurement
from tuning.noise_messages import NoiseScalePoint, NoiseScaleRequest, NoiseScales
from tuning.run.asking import ask_again
from tuning.run.executor import Executor
from tuning.trial import HyperparameterValue, TrialOutcome

BATCH_SIZE = 32
"""The batch size of the training along which noise is measured: Keras's own, which a model's rate likely suits."""

GUESSED_NOISE_SCALE = 256.0
"""What stands for a noise scale that could not be measured."""

_PATIENCE_S = 20.0
_EXAMPLES, _LEAST_EXAMPLES = 4096, 1024  # of one measurement
_MOMENTS = 4  # of a training at which it is measured


@dataclass(frozen=True)
class GradientNoise:
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

    @property
    def value(self) -> float | None:
        """The noise scale of the training: its mean, else its last known value; None if it is unknown."""
        return self.mean or (None if self.last is None else self.last.value)

    @property
    def at_least(self) -> float | None:
        """What bounds the noise scale from below; None if nothing does."""
        return max((point.low for point in self.points if point.low is not None), default=None)

    @property
    def critical_batch_size(self) -> float:
        """The forecast of B_crit: the noise scale, else 256, or its lower bound where that is more."""
        return self.value or max(GUESSED_NOISE_SCALE, self.at_least or 0.0)

    @property
    def measurement(self) -> Measurement:
        """What the record shows of it."""
        series = (
            (name, value, point.at_examples)
            for point in self.points
            for name, value in _shown(point).items()
            if value is not None and math.isfinite(value)
        )
        return Measurement("noise", series=tuple(series), reason=self.reason)

    def to_record(self) -> dict[str, Any]:
        """Return plain JSON values; `from_record` reads them."""
        return {"points": [asdict(point) for point in self.points], "reason": self.reason}

    @classmethod
    def from_record(cls, values: Mapping[str, Any]) -> GradientNoise:
        """Return what `to_record` wrote."""
        return cls(tuple(NoiseScalePoint(**point) for point in values["points"]), values["reason"])

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


def _shown(point: NoiseScalePoint) -> dict[str, float | None]:
    """Return what the record shows of one moment; a squared norm that was estimated as negative has no root."""
    squared = point.squared_gradient_norm
    return {
        "noise_scale": point.value,
        "noise_scale_low": point.low,
        "noise_scale_high": point.high,
        "gradient_norm": math.sqrt(squared) if squared >= 0 else None,
        "gradient_noise": math.sqrt(point.trace_of_covariance) if point.trace_of_covariance >= 0 else None,
    }


def probe_noise(
    executor: Executor,
    *,
    batch_size: int,
    updates: float,
    seconds_per_update: float | None = None,
    seed: int = 0,
    learning_rate: float | None = None,
    hyperparameters: Mapping[str, HyperparameterValue] | None = None,
    evaluation_batch_size: int = 256,
    patience_s: float = _PATIENCE_S,
) -> GradientNoise:
    """Train plain Keras and measure the noise scale on the way, in about twice the patience.

    Args:
        executor: Its first device measures; it must be idle.
        batch_size: The batch size of the training.
        updates: The length of the training; fewer are done where these would take longer than the patience.
        seconds_per_update: Seconds of an update of plain Keras at that batch size, None if unknown.
        seed: The seed of the training.
        learning_rate: The learning rate of the training; None for the model's own.
        hyperparameters: Values for the build function's `hp`, by name.
        evaluation_batch_size: Examples per validation step.
        patience_s: How long the training should take at most, and its measurements together; these take a quarter of
            the usual examples at least, since fewer tell too little.
    """
    examples = _EXAMPLES
    if seconds_per_update is not None:
        updates = min(updates, patience_s / seconds_per_update)
        affordable = patience_s / _MOMENTS * batch_size / seconds_per_update
        examples = int(min(_EXAMPLES, max(_LEAST_EXAMPLES, affordable)))
    request = NoiseScaleRequest(
        "noise-scale",
        batch_size,
        max(1, round(updates)),
        examples=examples,
        seed=seed,
        hyperparameters=dict(hyperparameters or {}),
        evaluation_batch_size=evaluation_batch_size,
        learning_rate=learning_rate,
    )
    answer = ask_again(executor, request)
    if isinstance(answer, NoiseScales):
        return GradientNoise(answer.points)
    assert isinstance(answer, TrialOutcome)
    return GradientNoise(reason=answer.reason)
