"""Which learning rates to try at a batch size: a few around a centre, then outward while the best is at an edge."""

from __future__ import annotations

import math
from collections.abc import Sequence

STEP = 3.0
LADDER = (1.0, 3.0, 1 / 3, 9.0, 1 / 9)
"""The multiples tried at the reference batch size, about which nothing is known; the centre first."""
WINDOW = (1.0, 3.0, 1 / 3)
"""The multiples tried at every other batch size, around the centre that the rule gives it."""
MOST_EXTENSIONS = 4
_SAME = 0.1

Rate = float | None


def around(centre: float, multiples: Sequence[float]) -> tuple[float, ...]:
    """Rates at multiples of a centre, to three digits.

    >>> around(0.001, WINDOW)
    (0.001, 0.003, 0.000333)
    """
    return tuple(_tidy(centre * multiple) for multiple in multiples)


def followed(rate: float, batch_size: int, *, known_at: int, rule: str, optimizer: str, noise_scale: float) -> float:
    """The centre of the rates to try at a batch size, from a rate known to be right at another.

        sqrt      rate * (B / B_ref)**0.5
        linear    rate * B / B_ref
        auto      for SGD: rate * (1 + B_noise/B_ref) / (1 + B_noise/B), linear below the noise scale and flat above it;
                  else sqrt

    Args:
        rate: Right at `known_at`.
        batch_size: B.
        known_at: B_ref.
        rule: "auto", "sqrt", "linear" or "constant".
        optimizer: Class name.
        noise_scale: B_noise, or a guess.

    Source: McCandlish et al., An Empirical Model of Large-Batch Training (2018), equation 2.6, for SGD; Malladi et al.
        (2022) for the square root.
    """
    if rule == "auto" and optimizer == "SGD":
        return rate * (1 + noise_scale / known_at) / (1 + noise_scale / batch_size)
    exponent = {"auto": 0.5, "sqrt": 0.5, "linear": 1.0, "constant": 0.0}[rule]
    return float(rate * (batch_size / known_at) ** exponent)


def missing(planned: Sequence[Rate], tried: Sequence[Rate]) -> list[Rate]:
    """Those of the planned rates that have not been tried, to within 10 %."""
    return [rate for rate in planned if not any(_is_same(rate, other) for other in tried)]


def outward(planned: Sequence[Rate], tried: Sequence[Rate], best: Rate) -> Rate:
    """The next rate beyond the edge at which the best one lies; None if it is interior or enough has been tried.

    Args:
        planned: What was to be tried at first.
        tried: What has been, diverged trainings included: they count as worse.
        best: Of those that could be judged; None if none could, because all diverged: then lower ones are tried.
    """
    rates = [rate for rate in tried if rate is not None]
    first = [rate for rate in planned if rate is not None]
    if len(first) < 2:
        return None
    beyond = [rate for rate in rates if not min(first) / (1 + _SAME) < rate < max(first) * (1 + _SAME)]
    if len(beyond) >= MOST_EXTENSIONS:
        return None
    if best is None or best == min(rates):
        return _tidy(min(rates) / STEP)
    return _tidy(max(rates) * STEP) if best == max(rates) else None


def _is_same(rate: Rate, other: Rate) -> bool:
    if rate is None or other is None:
        return rate is other
    return abs(math.log(rate / other)) < _SAME


def _tidy(rate: float) -> float:
    return float(f"{rate:.3g}")
