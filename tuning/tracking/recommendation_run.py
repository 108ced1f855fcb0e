"""The run that holds a study's recommendation, in place of an earlier one."""

from __future__ import annotations

import tempfile
from pathlib import Path

from mlflow import MlflowClient

from tuning.tracking import experiments, layout
from tuning.tracking.tracker import Files


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
    with tempfile.TemporaryDirectory() as folder:
        for name, content in contents.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        client.log_artifacts(made.info.run_id, folder)
    client.log_batch(made.info.run_id, tags=layout.as_tags({layout.NOTE: markdown}))
    client.set_terminated(made.info.run_id)
    link = f"#/experiments/{experiment_id}/runs/{made.info.run_id}/artifacts"
    client.set_experiment_tag(experiment_id, layout.NOTE, layout.note(markdown, link))
    for run in earlier:
        client.delete_run(run.info.run_id)
    experiments.touch(client, experiment_id)
