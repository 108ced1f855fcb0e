"""LearningRate: how the learning rate follows the batch size."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any

RULES = ("auto", "sqrt", "linear", "constant")
KERAS_BATCH_SIZE = 32
"""The batch size of a plain `model.fit`, for which a model's own learning rate is taken to be right."""


@dataclass(frozen=True)
class LearningRate:
    """A learning rate known to be right at one batch size, and the rule by which it follows the others.

    Comparing batch sizes at one learning rate measures the learning rate. With `B` the batch size:

        sqrt      base * (B / at_batch_size)**0.5     Adam and other normalised updates
        linear    base * (B / at_batch_size)          SGD, while B is small against the gradient noise scale
        constant  base

    A rule gives a centre, not the truth: `spread` tries several rates around it.

    Args:
        base: The rate at `at_batch_size`; None takes the model's own, from its compiled optimizer.
        at_batch_size: Batch size at which `base` is right; Keras's default of 32 if not told.
        rule: "sqrt", "linear", "constant", or "auto": linear for SGD, else sqrt.
        spread: Multiples of the centre to try at every batch size.
        values: Explicit rates to try at every batch size; see `choices`.

    Source: Krizhevsky 2014 (arXiv 1404.5997), Goyal 2017 (1706.02677), Malladi 2022 (2205.10287).

    Raises:
        ValueError: If a rate or a multiple is not positive and finite, or the rule is unknown.

    Examples:
        >>> LearningRate(1e-3, at_batch_size=32).centre(128, optimizer="Adam")
        0.002
    """

    base: float | None = None
    at_batch_size: int = KERAS_BATCH_SIZE
    rule: str = "auto"
    spread: tuple[float, ...] = (1.0,)
    values: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise ValueError(f"The learning-rate rule must be one of {', '.join(RULES)}; got {self.rule!r}.")
        if self.at_batch_size < 1:
            raise ValueError(f"at_batch_size must be at least 1; got {self.at_batch_size}.")
        if not self.spread:
            raise ValueError(
                "spread must hold at least one multiple; got none. Use (1.0,) for the rule's centre alone."
            )
        given: tuple[Any, ...] = () if self.base is None else (self.base,)
        for rate in (*given, *self.values, *self.spread):
            if not (isinstance(rate, Real) and math.isfinite(rate) and float(rate) > 0):
                raise ValueError(f"A learning rate must be positive and finite; got {rate!r}.")

    @classmethod
    def choices(cls, *values: float) -> LearningRate:
        """Explicit rates, every one tried at every batch size.

        Raises:
            ValueError: If there is none, or one is not positive and finite.
        """
        if not values:
            raise ValueError("A list of learning rates needs at least one; got none.")
        return cls(values=tuple(sorted(set(values))), rule="constant")

    @property
    def is_searched(self) -> bool:
        """Whether more than the rule's one rate per batch size was asked for."""
        return bool(self.values) or len(self.spread) > 1 or self.base is not None

    def centre(self, batch_size: int, *, optimizer: str, model_rate: float | None = None) -> float:
        """The rule's rate at `batch_size`.

        Args:
            batch_size: Examples per update.
            optimizer: Class name of the optimizer, for "auto".
            model_rate: The model's own rate, used where `base` is None.

        Raises:
            ValueError: If neither `base` nor `model_rate` is known.
        """
        base = self.base if self.base is not None else model_rate
        if base is None:
            raise ValueError("The learning rate must be known; the model has a schedule and no base was given.")
        exponent = {"sqrt": 0.5, "linear": 1.0, "constant": 0.0}[self.rule_for(optimizer)]
        return float(base * (batch_size / self.at_batch_size) ** exponent)

    def at(self, batch_size: int, *, optimizer: str, model_rate: float | None = None) -> tuple[float, ...]:
        """The rates to try at `batch_size`, ascending; arguments as in `centre`."""
        if self.values:
            return self.values
        centre = self.centre(batch_size, optimizer=optimizer, model_rate=model_rate)
        return tuple(centre * multiple for multiple in sorted(self.spread))

    def rule_for(self, optimizer: str) -> str:
        """The rule in force for an optimizer class: "auto" resolved."""
        if self.rule != "auto":
            return self.rule
        return "linear" if optimizer == "SGD" else "sqrt"


def parse_learning_rates(text: str) -> LearningRate:
    """Read a comma-separated list such as `1e-4,1e-3`.

    Raises:
        ValueError: If an entry is not a positive number.
    """
    rates = []
    for word in text.split(","):
        try:
            rates.append(float(word))
        except ValueError:
            raise ValueError(f"A learning rate must be a number; got {word.strip()!r}.") from None
    return LearningRate.choices(*rates)
