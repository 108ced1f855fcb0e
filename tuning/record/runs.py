"""Runs of an experiment: which MLflow holds of trials, and those of the recommendation and of measurements."""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from mlflow import MlflowClient
from mlflow.entities import Run

from tuning.messages import Measurement
from tuning.noise_messages import NoiseScalePoint
from tuning.record import experiments, layout
from tuning.record.foreign_runs import number_in
from tuning.record.mlflow_views import EVERYTHING, view_url
from tuning.record.store import answers, connect, resolve_tracking_uri
from tuning.record.tracker import Deciding, Files
from tuning.trial import Status, TrialOutcome

FULL = 500
"""Metrics in a batch; MLflow takes at most 1000."""


@dataclass(frozen=True)
class _Run:
    run_id: str
    is_complete: bool = False  # ended, and says how
    epochs: int = 0  # the last one that arrived

    @classmethod
    def of(cls, run: Run) -> _Run:
        is_complete = run.info.status != "RUNNING" and layout.STATUS in run.data.tags
        return cls(run.info.run_id, is_complete, int(run.data.metrics.get("epoch", 0)))


@dataclass
class RecordedRuns:
    """The runs of a study by trial. A trial has more than one where a driver died or an answer was lost."""

    _by_trial: dict[str, list[_Run]] = field(default_factory=dict)

    @classmethod
    def of(cls, client: MlflowClient, experiment_id: str) -> RecordedRuns:
        """Return the runs that MLflow holds of a study's trials."""
        found: dict[str, list[_Run]] = defaultdict(list)
        for run in experiments.all_runs(client, experiment_id):
            if trial_id := run.data.tags.get(layout.TRIAL_ID):
                found[trial_id].append(_Run.of(run))
        return cls(dict(found))

    def holds(self, trial_id: str, epochs: int) -> bool:
        """Return whether a run says how the trial ended, and has its last epoch.

        Args:
            trial_id: The trial.
            epochs: The number of its last epoch; 0 if it has none.
        """
        return any(run.is_complete and run.epochs >= epochs for run in self._by_trial.get(trial_id, ()))

    def add(self, trial_id: str, run_id: str, epochs: int | None = None) -> None:
        """Note a trial's run, and, once it has ended and says how, the number of its last epoch."""
        self._by_trial[trial_id] = [_Run(run_id, is_complete=epochs is not None, epochs=epochs or 0)]

    def look_again(self, client: MlflowClient, experiment_id: str, trial_id: str) -> None:
        """Ask for a trial's runs, one of which may have been made although the answer was lost."""
        found = client.search_runs([experiment_id], f"tags.`{layout.TRIAL_ID}` = '{trial_id}'")
        self._by_trial[trial_id] = [_Run.of(run) for run in found]

    def delete(self, client: MlflowClient, trial_id: str) -> None:
        """Move a trial's runs to MLflow's trash."""
        for run in self._by_trial.pop(trial_id, ()):
            client.delete_run(run.run_id)

    def reconcile(self, client: MlflowClient, finished: Collection[str], interrupted: Collection[str]) -> None:
        """End the runs that a killed driver left running, and leave one run per trial.

        A run whose trial the search calls interrupted becomes interrupted whatever the run says: the driver may have
        died between recording the end here and there. So does any run that claims to be running and whose trial has
        not finished, for this process has started none yet.
        """
        for trial_id, runs in self._by_trial.items():
            kept = next((run for run in reversed(runs) if run.is_complete), runs[-1])
            for run in runs:
                if run is not kept:
                    client.delete_run(run.run_id)
            if trial_id in interrupted or not (kept.is_complete or trial_id in finished):
                _interrupt(client, kept)
                kept = replace(kept, is_complete=True)
            self._by_trial[trial_id] = [kept]


def _interrupt(client: MlflowClient, run: _Run) -> None:
    outcome = TrialOutcome(
        "", Status.INTERRUPTED, "the search was stopped while this trial ran, or a longer one goes on from it"
    )
    client.log_batch(run.run_id, tags=layout.as_tags(layout.outcome_tags(outcome)))
    client.set_terminated(run.run_id, layout.run_status(outcome.status))


def write_recommendation(client: MlflowClient, experiment_id: str, markdown: str, contents: Files) -> None:
    """Make the run named "recommendation" and describe the experiment by it; an earlier one goes to the trash.

    Args:
        client: The store's client.
        experiment_id: The study's experiment.
        markdown: The recommendation in words.
        contents: The run's artifacts by file name.
    """
    earlier = client.search_runs([experiment_id], f"tags.`{layout.STAGE}` = '{layout.RECOMMENDATION}'")
    made = client.create_run(experiment_id, tags={layout.STAGE: layout.RECOMMENDATION}, run_name=layout.RECOMMENDATION)
    _log_files(client, made.info.run_id, contents)
    client.log_batch(made.info.run_id, tags=layout.as_tags({layout.NOTE: markdown}))
    client.set_terminated(made.info.run_id)
    link = f"#/experiments/{experiment_id}/runs/{made.info.run_id}/artifacts"
    views = {
        "what decided": view_url("", experiment_id).lstrip("/"),
        "all trials": view_url("", experiment_id, EVERYTHING).lstrip("/"),
    }
    client.set_experiment_tag(experiment_id, layout.NOTE, layout.note(markdown, link, views))
    for run in earlier:
        client.delete_run(run.info.run_id)
    experiments.touch(client, experiment_id)


def mark_deciding(client: MlflowClient, experiment_id: str, deciding: Deciding) -> None:
    """Mark the runs of the trials that decided, and give them the numbers of the answer's table; unmark all others.

    Args:
        client: The store's client.
        experiment_id: The study's experiment.
        deciding: The numbers by trial.
    """
    now_ms = time.time_ns() // 1_000_000
    for run in experiments.all_runs(client, experiment_id):
        trial_id = run.data.tags.get(layout.TRIAL_ID, "")
        if trial_id in deciding:
            metrics = layout.answer_metrics(deciding[trial_id], now_ms)
            client.log_batch(run.info.run_id, metrics=metrics, tags=layout.as_tags({layout.DECIDES: layout.YES}))
        elif layout.DECIDES in run.data.tags:
            client.delete_tag(run.info.run_id, layout.DECIDES)


def write_measurement(
    client: MlflowClient, experiment_id: str, measurement: Measurement, files: Files | None = None
) -> str:
    """Make the run that holds a measurement, and return its id; an earlier one of that name goes to the trash.

    Repeating the call after an answer was lost leaves one run all the same.

    Args:
        client: The store's client.
        experiment_id: The experiment that gets the run.
        measurement: What was measured, or why it could not be.
        files: Contents of the run's artifacts, by name.
    """
    tags = layout.measurement_tags(measurement)
    named = {name: tags[name] for name in (layout.STAGE, layout.MEASURED)}  # from the start, so that a retry finds it
    earlier = client.search_runs([experiment_id], f"tags.`{layout.MEASURED}` = '{tags[layout.MEASURED]}'")
    made = client.create_run(experiment_id, tags=named, run_name=measurement.name)
    run_id = str(made.info.run_id)
    client.log_batch(run_id, params=layout.as_params(measurement.params), tags=layout.as_tags(tags))
    metrics = layout.measurement_metrics(measurement, time.time_ns() // 1_000_000)
    for start in range(0, len(metrics), FULL):
        client.log_batch(run_id, metrics=metrics[start : start + FULL])
    if files:
        _log_files(client, run_id, files)
    client.set_terminated(run_id, "FAILED" if measurement.reason else "FINISHED")
    for run in earlier:
        client.delete_run(run.info.run_id)
    return run_id


def log_measurement(tracking_uri: str | None, experiment: str, measurement: Measurement, files: Files) -> str:
    """Record a measurement that belongs to no study, in an experiment of that name, and return the run's id.

    The experiment gets no study's tag, so that nobody picks a batch size from it.

    Args:
        tracking_uri: As `resolve_tracking_uri` takes it.
        experiment: The experiment's name, such as "digits-probe"; it is made if there is none.
        measurement: What was measured.
        files: Contents of the run's artifacts, by name.

    Raises:
        TrackingError: If MLflow does not answer.
    """
    uri = resolve_tracking_uri(tracking_uri)
    with answers(uri):
        client = connect(uri, create=True)
        found = client.get_experiment_by_name(experiment)
        if found is not None:
            return write_measurement(client, found.experiment_id, measurement, files)
        made = client.create_experiment(experiment, experiments.artifact_location(client, experiment))
        return write_measurement(client, made, measurement, files)


def _log_files(client: MlflowClient, run_id: str, contents: Files) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, content in contents.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        client.log_artifacts(run_id, folder)


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
