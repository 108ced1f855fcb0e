"""The MLflow run of a probe: stage "probe", what it measured as metrics, its JSON and plot as artifacts."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tuning.tracking import experiments, layout
from tuning.tracking.store import answers, connect, resolve_tracking_uri
from tuning.tracking.tracker import Files


def log_probe(
    tracking_uri: str | None,
    study: str,
    *,
    params: Mapping[str, str | int | float],
    metrics: Sequence[tuple[str, float, int]],
    files: Files,
) -> str:
    """Record a probe in the experiment named after it, in a run of its own beside earlier ones.

    The experiment is no study, so that nobody picks a batch size from it.

    Args:
        tracking_uri: As `resolve_tracking_uri` takes it.
        study: Name of the experiment.
        params: Shown as the run's parameters.
        metrics: Name, value and step each: the step of a throughput is the batch size, of a noise scale the examples
            seen.
        files: Contents of artifacts by name.

    Returns:
        The run's id.

    Raises:
        TrackingError: If MLflow does not answer.
    """
    uri = resolve_tracking_uri(tracking_uri)
    with answers(uri):
        client = connect(uri, create=True)
        found = client.get_experiment_by_name(study)
        experiment_id = (
            client.create_experiment(study, experiments.artifact_location(client, study))
            if found is None
            else found.experiment_id
        )
        run = client.create_run(experiment_id, tags={layout.STAGE: layout.PROBE}, run_name=layout.PROBE)
        now_ms = time.time_ns() // 1_000_000
        logged = [metric for name, value, step in metrics for metric in layout.as_metrics({name: value}, now_ms, step)]
        client.log_batch(run.info.run_id, metrics=logged, params=layout.as_params(params))
        with tempfile.TemporaryDirectory() as folder:
            for name, content in files.items():
                Path(folder, name).write_bytes(content.encode() if isinstance(content, str) else content)
            client.log_artifacts(run.info.run_id, folder)
        client.set_terminated(run.info.run_id)
    return str(run.info.run_id)
