"""Measurement: something measured apart from a trial, as it is shown and read back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tuning.trial import HyperparameterValue


@dataclass(frozen=True)
class Measurement:
    """Something measured apart from a trial: what fits, seconds per update, CPU threads, the gradient's noise scale.

    Args:
        name: What was measured, such as "memory", "updates", "threads" or "noise"; one run of the record each.
        params: How and where, such as the batch size, the loop or the device.
        values: Single numbers by name.
        series: Name, value and step of what was measured repeatedly; the step is a batch size, or examples seen.
        reason: Why it could not be measured; empty if it was.
    """

    name: str
    params: Mapping[str, HyperparameterValue] = field(default_factory=dict)
    values: Mapping[str, float] = field(default_factory=dict)
    series: tuple[tuple[str, float, int], ...] = ()
    reason: str = ""
