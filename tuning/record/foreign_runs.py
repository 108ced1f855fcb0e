"""Runs that any program logged, read as trials as far as they tell a batch size."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from mlflow.entities import Run

from search_spaces.space import Setting
from tuning.record.store import TrackingError
from tuning.trial import Status, Trial, finished_trial

ENDED = {"FINISHED": Status.COMPLETED, "FAILED": Status.FAILED, "KILLED": Status.INTERRUPTED}
_RATES = ("learning_rate", "lr", "opt_learning_rate")  # the last is what mlflow.keras.autolog calls it


def trials_of(runs: Sequence[Run], param: str, metric: str) -> tuple[tuple[Trial, ...], tuple[str, ...]]:
    """Return the runs as trials, and one line for each reason why some were left out or are not quite comparable.

    Args:
        runs: All runs of an experiment, in the order of starting.
        param: The param that holds the batch size.
        metric: The metric whose last value is the score.

    Raises:
        TrackingError: If no run has the param, or none has the metric.
    """
    check_logged("param", param, {key for run in runs for key in run.data.params})
    check_logged("metric", metric, {key for run in runs for key in run.data.metrics})
    reasons = [_why_left_out(run, param, metric) for run in runs]
    kept = [run for run, reason in zip(runs, reasons, strict=True) if reason is None]
    trials = _with_seeds([_trial(run, param, metric) for run in kept], [_seed(run) for run in kept])
    return tuple(trials), counted(Counter(reason for reason in reasons if reason)) + _other_params(kept, param)


def counted(reasons: Mapping[str, int]) -> tuple[str, ...]:
    """Return one line for each reason why runs were left out."""
    return tuple(
        f"{count} {'run' if count == 1 else 'runs'} {reason}, left out." for reason, count in reasons.items() if count
    )


def number_in(text: str | None) -> float | None:
    """Return the finite number that a param holds, or None."""
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def check_logged(kind: str, name: str, logged: set[str]) -> None:
    """Refuse a name that no run has logged.

    Args:
        kind: "param" or "metric".
        name: What was asked for.
        logged: What there is.

    Raises:
        TrackingError: If it is not there; it says what is.
    """
    if name not in logged:
        raise TrackingError(
            f"No run has the {kind} {name!r}; the {kind}s logged are: {', '.join(sorted(logged)) or 'none'}. "
            f"Choose one of these with --{kind}."
        )


def _trial(run: Run, param: str, metric: str) -> Trial:
    metrics = run.data.metrics
    status = ENDED[run.info.status]
    rates = (number_in(run.data.params.get(name)) for name in _RATES)
    memory = metrics.get("peak_memory_bytes")
    return finished_trial(
        _whole(run.data.params[param]) or 1,
        0,
        metrics.get(metric) if status is Status.COMPLETED else None,
        status=status,
        learning_rate=next((rate for rate in rates if rate is not None and rate > 0), None),
        metric=metric,
        seconds=metrics.get("seconds", _lifetime_seconds(run)),
        examples_per_second=metrics.get("examples_per_second"),
        peak_memory_bytes=int(memory) if memory is not None and math.isfinite(memory) else None,
        **energy_of(metrics),
    )


IDLE_WATTS = "idle_watts"


def energy_of(metrics: Mapping[str, float]) -> dict[str, Any]:
    """Return what a run logged of its energy, by the names of `TrialOutcome`; None where it is not a finite number."""
    found = {name: metrics.get(name, math.nan) for name in ("energy_joules", "mean_watts", "joules_per_example")}
    return {name: value if math.isfinite(value) else None for name, value in found.items()}


def _lifetime_seconds(run: Run) -> float | None:
    """Return how long a run lived, which stands for its training seconds where nobody logged those."""
    info = run.info
    return (info.end_time - info.start_time) / 1000 if info.status == "FINISHED" and info.end_time else None


def _why_left_out(run: Run, param: str, metric: str) -> str | None:
    value = run.data.params.get(param)
    if value is None:
        return f"without the param {param!r}"
    if (_whole(value) or 0) < 1:
        return f"whose {param!r} is not a whole number of at least 1"
    if run.info.status not in ENDED:
        return "still running"
    if run.info.status == "FINISHED" and metric not in run.data.metrics:
        return f"without the metric {metric!r}"
    return None


def _with_seeds(trials: list[Trial], seeds: list[int | None]) -> list[Trial]:
    told = [(trial.setting, seed) for trial, seed in zip(trials, seeds, strict=True)]
    if None not in seeds and len(set(told)) == len(told):
        return [replace(trial, seed=seed or 0) for trial, seed in zip(trials, seeds, strict=True)]
    repeats: Counter[Setting] = Counter()
    numbered = []
    for trial in trials:
        numbered.append(replace(trial, seed=repeats[trial.setting]))
        repeats[trial.setting] += 1
    return numbered


def _other_params(runs: Iterable[Run], param: str) -> tuple[str, ...]:
    known = {param, "seed", *_RATES}
    values: dict[str, set[str]] = {}
    for run in runs:
        for name, value in run.data.params.items():
            if name not in known:
                values.setdefault(name, set()).add(value)
    varying = sorted(name for name, seen in values.items() if len(seen) > 1)
    if not varying:
        return ()
    return (f"These params vary between the runs, too, and are not taken into account: {', '.join(varying)}.",)


def _seed(run: Run) -> int | None:
    return _whole(run.data.params.get("seed", ""))


def _whole(text: str) -> int | None:
    number = number_in(text)
    return int(number) if number is not None and number == int(number) else None
