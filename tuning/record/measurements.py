"""Measurements of a study, and the noise scales of its trials, read back from MLflow."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from mlflow import MlflowClient
from mlflow.entities import Run

from tuning.messages import NoiseScalePoint
from tuning.record import experiments, layout
from tuning.record.foreign_runs import number_in
from tuning.record.store import answers, connect

_RATE = "examples_per_second_"
_SECONDS = "seconds_per_update_"
_ANSWER = "recommendation.json"
_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Measurements:
    """The numbers that were measured beside the trials' own scores; empty or None where nothing was.

    Args:
        examples_per_second: The throughput by name and batch size, nothing else running: "keras" and "chosen" in a
            probe, "user" and "trials" in a staged search.
        peak_memory_bytes: The peak of memory by batch size.
        memory_limit_bytes: The memory that training may use.
        memory_limit_source: Where that limit comes from.
        noise_scale: The gradient noise scale that was measured apart from trials, by examples seen.
        trial_noise_scale: Examples seen and noise scale along trials that logged it, by batch size.
        recommendation: What the search itself recommended, as it was recorded.
    """

    examples_per_second: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    peak_memory_bytes: Mapping[int, float] = field(default_factory=dict)
    memory_limit_bytes: float | None = None
    memory_limit_source: str = ""
    noise_scale: Sequence[NoiseScalePoint] = ()
    trial_noise_scale: Mapping[int, Sequence[tuple[int, float]]] = field(default_factory=dict)
    recommendation: Mapping[str, Any] = field(default_factory=dict)


def read_measurements(tracking_uri: str, experiment_id: str) -> Measurements:
    """Read the runs of stage "measurement", the latest of each value, and the noise scales that trials logged.

    Args:
        tracking_uri: As `resolve_tracking_uri` returns it.
        experiment_id: The study's experiment.

    Raises:
        TrackingError: If the store does not answer.
    """
    with answers(tracking_uri):
        client = connect(tracking_uri)
        runs = experiments.all_runs(client, experiment_id)
        measured = [run for run in runs if run.data.tags.get(layout.STAGE) == layout.MEASUREMENT]
        answers_given = [run for run in runs if run.data.tags.get(layout.STAGE) == layout.RECOMMENDATION]
        return Measurements(
            examples_per_second=_rates(client, measured),
            peak_memory_bytes=_by_size(client, measured, "peak_memory_bytes"),
            memory_limit_bytes=_last(run.data.metrics.get("memory_limit_bytes") for run in measured),
            memory_limit_source=_last(run.data.params.get("memory_limit_source") for run in measured) or "",
            noise_scale=_noise(client, measured),
            trial_noise_scale=_trial_noise(client, runs),
            recommendation=_recommendation(client, answers_given),
        )


def _rates(client: MlflowClient, measured: Sequence[Run]) -> dict[str, dict[int, float]]:
    """Return examples per second by name and batch size, whether they or the seconds per update were measured."""
    names = sorted({name for run in measured for name in run.data.metrics}, reverse=True)
    rates: dict[str, dict[int, float]] = {}
    for name in names:
        if name.startswith(_RATE):
            rates.setdefault(name.removeprefix(_RATE), {}).update(_by_size(client, measured, name))
        elif name.startswith(_SECONDS):
            seconds = _by_size(client, measured, name)
            by_size = {size: size / each for size, each in seconds.items() if each > 0}
            rates.setdefault(name.removeprefix(_SECONDS), {}).update(by_size)
    return {name: by_size for name, by_size in rates.items() if by_size}


def _by_size(client: MlflowClient, measured: Sequence[Run], name: str) -> dict[int, float]:
    """Return a metric whose step is the batch size; a value at step 0 belongs to none."""
    return {step: value for run in measured for step, value in _history(client, run, name).items() if step > 0}


def _noise(client: MlflowClient, measured: Sequence[Run]) -> tuple[NoiseScalePoint, ...]:
    for run in reversed(measured):
        values, lows, highs = (_history(client, run, f"noise_scale{end}") for end in ("", "_low", "_high"))
        if values or lows:
            return tuple(
                NoiseScalePoint(at, values.get(at), lows.get(at), highs.get(at), math.nan, math.nan)
                for at in sorted(values.keys() | lows.keys())
            )
    return ()


def _trial_noise(client: MlflowClient, runs: Sequence[Run]) -> dict[int, list[tuple[int, float]]]:
    found: dict[int, list[tuple[int, float]]] = {}
    for run in runs:
        size = number_in(run.data.params.get("batch_size"))
        if layout.TRIAL_ID in run.data.tags and size and "noise_scale" in run.data.metrics:
            found.setdefault(int(size), []).extend(_history(client, run, "noise_scale").items())
    return {size: sorted(points) for size, points in found.items()}


def _history(client: MlflowClient, run: Run, name: str) -> dict[int, float]:
    if name not in run.data.metrics:
        return {}
    history = client.get_metric_history(run.info.run_id, name)
    return {point.step: point.value for point in history if math.isfinite(point.value)}


def _recommendation(client: MlflowClient, given: Sequence[Run]) -> dict[str, Any]:
    if not given or not any(file.path == _ANSWER for file in client.list_artifacts(given[-1].info.run_id)):
        return {}
    with TemporaryDirectory() as folder:
        found = json.loads(Path(client.download_artifacts(given[-1].info.run_id, _ANSWER, folder)).read_text())
    return found if isinstance(found, dict) else {}


def _last(values: Iterable[_Value | None]) -> _Value | None:
    return next((value for value in reversed(list(values)) if value is not None), None)
