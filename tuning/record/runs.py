"""Runs of a study apart from its trials’ metrics: which MLflow holds, the recommendation’s, and a probe’s."""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from mlflow import MlflowClient

from tuning.record import experiments, layout
from tuning.record.store import answers, connect, resolve_tracking_uri
from tuning.record.tracker import Files
from tuning.trial import Measurement, Status, TrialOutcome


@dataclass(frozen=True)
class _Run:
    run_id: str
    is_complete: bool  # ended, and says how


@dataclass
class RecordedRuns:
    """The runs of a study by trial; more than one where a driver died or an answer was lost."""

    _by_trial: dict[str, list[_Run]] = field(default_factory=dict)

    @classmethod
    def of(cls, client: MlflowClient, experiment_id: str) -> RecordedRuns:
        """Those that MLflow holds."""
        found: dict[str, list[_Run]] = defaultdict(list)
        for run in experiments.all_runs(client, experiment_id):
            if trial_id := run.data.tags.get(layout.TRIAL_ID):
                ended = run.info.status != "RUNNING" and layout.STATUS in run.data.tags
                found[trial_id].append(_Run(run.info.run_id, ended))
        return cls(dict(found))

    def holds(self, trial_id: str) -> bool:
        """Whether a run says how the trial ended."""
        return any(run.is_complete for run in self._by_trial.get(trial_id, ()))

    def add(self, trial_id: str, run_id: str) -> None:
        """A run has ended that says how its trial did."""
        self._by_trial[trial_id] = [_Run(run_id, is_complete=True)]

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
            self._by_trial[trial_id] = [kept]


def _interrupt(client: MlflowClient, run: _Run) -> None:
    outcome = TrialOutcome("", Status.INTERRUPTED, "the search was stopped while this trial ran")
    client.log_batch(run.run_id, tags=layout.as_tags(layout.outcome_tags(outcome)))
    client.set_terminated(run.run_id, layout.run_status(outcome.status))


def write_recommendation(client: MlflowClient, experiment_id: str, markdown: str, contents: Files) -> None:
    """Make the run named "recommendation" and describe the experiment by it; an earlier one goes to the trash.

    Args:
        client: Of the store.
        experiment_id: The study's.
        markdown: The recommendation in words.
        contents: The run's artifacts by file name.
    """
    earlier = client.search_runs([experiment_id], f"tags.`{layout.STAGE}` = '{layout.RECOMMENDATION}'")
    made = client.create_run(experiment_id, tags={layout.STAGE: layout.RECOMMENDATION}, run_name=layout.RECOMMENDATION)
    _log_files(client, made.info.run_id, contents)
    client.log_batch(made.info.run_id, tags=layout.as_tags({layout.NOTE: markdown}))
    client.set_terminated(made.info.run_id)
    link = f"#/experiments/{experiment_id}/runs/{made.info.run_id}/artifacts"
    client.set_experiment_tag(experiment_id, layout.NOTE, layout.note(markdown, link))
    for run in earlier:
        client.delete_run(run.info.run_id)
    experiments.touch(client, experiment_id)


def write_measurement(
    client: MlflowClient, experiment_id: str, measurement: Measurement, files: Files | None = None
) -> str:
    """Make a run that shows what was measured apart from a trial, and return its id.

    Args:
        client: The store's.
        experiment_id: Where to.
        measurement: Its params and values; the step of a series is a batch size, or the examples seen.
        files: Contents of artifacts by name.
    """
    tags = {layout.STAGE: layout.MEASUREMENT, layout.MEASURED: measurement.name}
    if measurement.reason:
        tags |= {layout.REASON: measurement.reason, layout.NOTE: measurement.reason}
    run = client.create_run(experiment_id, tags=tags, run_name=measurement.name)
    now_ms = time.time_ns() // 1_000_000
    metrics = layout.as_metrics(measurement.values, now_ms, 0)
    for name, value, step in measurement.series:
        metrics += layout.as_metrics({name: value}, now_ms, step)
    client.log_batch(run.info.run_id, metrics=metrics, params=layout.as_params(measurement.params))
    if files:
        _log_files(client, run.info.run_id, files)
    client.set_terminated(run.info.run_id)
    return str(run.info.run_id)


def replace_measurement(client: MlflowClient, experiment_id: str, measurement: Measurement) -> None:
    """Show a measurement of a study in place of an earlier one of its name, which goes to the trash."""
    tagged = f"tags.`{layout.MEASURED}` = '{measurement.name}'"
    earlier = client.search_runs([experiment_id], tagged)
    write_measurement(client, experiment_id, measurement)
    for run in earlier:
        client.delete_run(run.info.run_id)


def log_probe(tracking_uri: str | None, name: str, measurement: Measurement, files: Files) -> str:
    """Record a probe in the experiment named after it, in a run of its own beside earlier ones.

    The experiment is no study, so that nobody picks a batch size from it.

    Args:
        tracking_uri: As `resolve_tracking_uri` takes it.
        name: The experiment's name.
        measurement: What was measured.
        files: Contents of artifacts by name.

    Returns:
        The run's id.

    Raises:
        TrackingError: If MLflow does not answer.
    """
    uri = resolve_tracking_uri(tracking_uri)
    with answers(uri):
        client = connect(uri, create=True)
        found = client.get_experiment_by_name(name)
        if found is None:
            experiment_id = client.create_experiment(name, experiments.artifact_location(client, name))
        else:
            experiment_id = found.experiment_id
        return write_measurement(client, experiment_id, measurement, files)


def _log_files(client: MlflowClient, run_id: str, files: Files) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        client.log_artifacts(run_id, folder)
