"""Kinds of device: seconds, joules and bytes are compared within a kind, scores and updates across all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from tuning.trial import Trial

DEVICE_KIND, NODE = "device_kind", "node"
"""The settings of an outcome that tell on what kind of device a trial ran, and on which host."""


def kind_of(trial: Trial) -> str:
    """Return the kind of device that a trial ran on; empty where nobody knows."""
    return "" if trial.outcome is None else str(trial.outcome.settings.get(DEVICE_KIND, ""))


def kinds_of(trials: Iterable[Trial]) -> dict[str, int]:
    """Return how many trials with a score ran on each kind of device, most first; of as many the first trial's."""
    return dict(Counter(kind_of(trial) for trial in trials if trial.scored).most_common())


def of_kind(trials: Iterable[Trial], kind: str) -> list[Trial]:
    """Return trials as a user of one kind of device sees them: without what a clock or a meter told of another kind.

    Args:
        trials: In any order.
        kind: The kind; empty to leave all as they are, as where every trial ran on the same.
    """
    return [trial if kind in ("", kind_of(trial)) else _unmeasured(trial) for trial in trials]


def _unmeasured(trial: Trial) -> Trial:
    if trial.outcome is None:
        return trial
    outcome = replace(
        trial.outcome,
        seconds=None,
        compile_seconds=None,
        examples_per_second=None,
        peak_memory_bytes=None,
        energy_joules=None,
        mean_watts=None,
        joules_per_example=None,
    )
    return replace(trial, outcome=outcome)
