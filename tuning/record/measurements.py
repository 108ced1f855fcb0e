"""What the probes of a study measured, and the noise scales of its trials, read back from MLflow."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run

from tuning.messages import NoiseScalePoint
from tuning.record import experiments, layout
from tuning.record.foreign_runs import number_in
from tuning.record.store import answers, connect

_RATE = "examples_per_second_"
_ANSWER = "recommendation.json"


@dataclass(frozen=True)
class Measurements:
    """What was measured beside the trials' own scores; empty or None where nothing was.

    Args:
        examples_per_second: By the name of the loop and batch size, nothing else running: "keras" for plain `fit`,
            "chosen" for the loop of the trials.
        peak_memory_bytes: By batch size.
        memory_limit_bytes: What training may use.
        memory_limit_source: Where that number comes from.
        noise_scale: Of the probe, by examples seen.
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
    """Read the runs that measure, the latest of each value, and the noise scales that trials logged.

    Args:
        tracking_uri: As `resolve_tracking_uri` returns it.
        experiment_id: The study's experiment.

    Raises:
        TrackingError: If the store does not answer.
    """
    with answers(tracking_uri):
        client = connect(tracking_uri)
        runs = experiments.all_runs(client, experiment_id)
        probes = [run for run in runs if run.data.tags.get(layout.STAGE) == layout.MEASUREMENT]
        told = [run for run in runs if run.data.tags.get(layout.STAGE) == layout.RECOMMENDATION]
        return Measurements(
            examples_per_second=_rates(client, probes),
            peak_memory_bytes=_by_size(client, probes, "peak_memory_bytes"),
            memory_limit_bytes=_last(run.data.metrics.get("memory_limit_bytes") for run in probes),
            memory_limit_source=_last(run.data.params.get("memory_limit_source") for run in probes) or "",
            noise_scale=_noise(client, probes),
            trial_noise_scale=_trial_noise(client, runs),
            recommendation=_recommendation(client, told),
        )


def _rates(client: MlflowClient, probes: Sequence[Run]) -> dict[str, dict[int, float]]:
    names = sorted({name for run in probes for name in run.data.metrics if name.startswith(_RATE)}, reverse=True)
    rates = {name.removeprefix(_RATE): _by_size(client, probes, name) for name in names}
    return {loop: by_size for loop, by_size in rates.items() if by_size}


def _by_size(client: MlflowClient, probes: Sequence[Run], name: str) -> dict[int, float]:
    """A metric whose step is the batch size; what was logged at step 0 belongs to none."""
    return {step: value for run in probes for step, value in _history(client, run, name).items() if step > 0}


def _noise(client: MlflowClient, probes: Sequence[Run]) -> tuple[NoiseScalePoint, ...]:
    for run in reversed(probes):
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
        if run.data.tags.get(layout.STAGE) != layout.MEASUREMENT and size and "noise_scale" in run.data.metrics:
            found.setdefault(int(size), []).extend(_history(client, run, "noise_scale").items())
    return {size: sorted(points) for size, points in found.items()}


def _history(client: MlflowClient, run: Run, name: str) -> dict[int, float]:
    if name not in run.data.metrics:
        return {}
    history = client.get_metric_history(run.info.run_id, name)
    return {point.step: point.value for point in history if math.isfinite(point.value)}


def _recommendation(client: MlflowClient, told: Sequence[Run]) -> dict[str, Any]:
    if not told or not any(file.path == _ANSWER for file in client.list_artifacts(told[-1].info.run_id)):
        return {}
    with TemporaryDirectory() as folder:
        found = json.loads(Path(client.download_artifacts(told[-1].info.run_id, _ANSWER, folder)).read_text())
    return found if isinstance(found, dict) else {}


def _last(values: Any) -> Any:
    return next((value for value in reversed(list(values)) if value is not None), None)
