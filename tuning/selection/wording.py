"""Numbers and lists as a person would write them."""

from __future__ import annotations

import math
from collections.abc import Sequence

_UNITS = ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes"))


def number(value: float, digits: int = 3) -> str:
    """`value` to so many significant digits, without an exponent between 1e-4 and 1e9."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    size = math.floor(math.log10(abs(value)))
    if not -5 < size < 9:
        return f"{value:.{digits - 1}e}"
    decimals = max(0, digits - 1 - size)
    return f"{round(value, digits - 1 - size):,.{decimals}f}"


def score(value: float, error: float | None = None) -> str:
    """A score to the decimals that its standard error supports (two digits of it), at least to four digits else."""
    if error is None or error <= 0 or not math.isfinite(error):
        return f"{value:.4g}"
    decimals = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{min(decimals, 8)}f}"


def duration(seconds: float) -> str:
    """Seconds in the largest unit of which there are at least two."""
    for size, unit in _UNITS:
        if seconds >= 2 * size:
            return f"{number(seconds / size, 2)} {unit}"
    return f"{number(seconds, 2)} seconds" if seconds < 100 else f"{seconds:.0f} seconds"


def percent(share: float) -> str:
    """A chance in whole percent, never a flat 0 or 100 for something merely (un)likely."""
    if share < 0.01:
        return "less than 1 %"
    if share > 0.99:
        return "more than 99 %"
    return f"{100 * share:.0f} %"


def listing(items: Sequence[object]) -> str:
    """ "1", "1 and 2", "1, 2 and 3"."""
    words = [str(item) for item in items]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def plural(count: int, noun: str, nouns: str | None = None) -> str:
    """ "1 seed", "3 seeds"."""
    return f"{count} {noun if count == 1 else nouns or noun + 's'}"
