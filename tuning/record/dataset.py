"""The data of a study in MLflow's own field for them: how many examples, and the digest that tells them from others."""

from __future__ import annotations

import json
from collections.abc import Mapping

from mlflow.entities import Dataset, DatasetInput, InputTag


def dataset_of(study: str, settings: Mapping[str, str]) -> DatasetInput | None:
    """Return what the runs of a study's trials have been trained on.

    Args:
        study: Its name, by which MLflow lists the data.
        settings: Of the study; the one called "data" ends with the digest, as `tell_data` writes it.

    Returns:
        None where the settings do not tell.
    """
    examples, _, digest = settings.get("data", "").rpartition(", ")
    if not examples:
        return None
    source = json.dumps({"command": settings.get("command", "")})
    data = Dataset(study, digest, source_type="local", source=source, profile=json.dumps({"examples": examples}))
    return DatasetInput(data, [InputTag("mlflow.data.context", "training")])
