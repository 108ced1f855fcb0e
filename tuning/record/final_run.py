"""The run of a final training in MLflow: its curve, its score beside the study's, the model with its signature."""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from tuning.record import experiments, layout
from tuning.record.mlflow_tracker import dataset_of
from tuning.record.origin import origin_tags
from tuning.record.runs import FULL
from tuning.record.store import TrackingError, answers, connect, resolve_tracking_uri
from tuning.trial import Trial

FINAL = "final"
"""The stage of the runs that `batch-size train` leaves; they are no trials, and decide nothing."""

_MODEL = "model"
_NEVER_IN_NAMES = "/:"  # of registered models, in MLflow 2.22 to 3.17


@dataclass(frozen=True)
class FinalRun:
    """A final training, as MLflow shows it.

    Args:
        trial: What was trained.
        epochs: The metrics of each epoch.
        n_train: The training examples of an epoch.
        told: How its score compares with the study's, in words.
        numbers: The same as metrics.
        command: What was called; empty for a script.
    """

    trial: Trial
    epochs: Sequence[Mapping[str, float]]
    n_train: int
    told: str
    numbers: Mapping[str, float | None]
    command: str = ""


@dataclass(frozen=True)
class LoggedModel:
    """Where MLflow holds a model.

    Args:
        tracking_uri: The store.
        run_id: The run of its training.
        uri: The address that `mlflow.keras.load_model` takes.
        registered: Its name in the registry, with its version; None where it was not registered.
    """

    tracking_uri: str
    run_id: str
    uri: str
    registered: tuple[str, str] | None = None


def check_model_name(name: str) -> None:
    """Raise ValueError unless MLflow's registry takes a model of this name."""
    if not name.strip() or any(letter in name for letter in _NEVER_IN_NAMES):
        raise ValueError(
            f"A registered model's name must not be empty nor contain / or :; got {name!r}. Choose another."
        )


def place_for(tracking_uri: str | None, study: str) -> str:
    """Return the store that holds a study, before minutes are spent on what goes there.

    Args:
        tracking_uri: As `resolve_tracking_uri` takes it.
        study: The study's name.

    Raises:
        TrackingError: If the store does not answer or does not hold the study.
    """
    uri = resolve_tracking_uri(tracking_uri)
    with answers(uri):
        experiments.find_experiment(connect(uri), study)
    return uri


def log_final_run(
    tracking_uri: str,
    study: str,
    made: FinalRun,
    model: Any,
    examples: tuple[Any, Any],
    *,
    register: str | None = None,
) -> LoggedModel:
    """Make a run of stage "final" in a study's experiment, and log the model there.

    Args:
        tracking_uri: From `place_for`.
        study: The study's name.
        made: The training.
        model: The Keras model.
        examples: A few inputs and what the model predicts for them, of which the signature is made: arrays, or arrays
            by name.
        register: The name under which MLflow's registry gets a new version of it; None to register nothing.

    Raises:
        TrackingError: If the store fails or refuses.
    """
    with answers(tracking_uri):
        client = connect(tracking_uri)
        experiment = experiments.find_experiment(client, study)
        run_id = _start(client, experiment.experiment_id, made)
        data = dataset_of(study, experiments.settings_of(experiment))
        if data is not None:
            client.log_inputs(run_id, [data])
        _log_epochs(client, run_id, made)
        with _working_on(tracking_uri, run_id):
            info = _log_model(model, examples, register)
    version_made = info.registered_model_version
    return LoggedModel(
        tracking_uri,
        run_id,
        info.model_uri,
        None if register is None or version_made is None else (register, str(version_made)),
    )


def _start(client: MlflowClient, experiment_id: str, made: FinalRun) -> str:
    trial = made.trial
    tags = {layout.STAGE: FINAL, layout.NOTE: made.told, **origin_tags(made.command)}
    name = f"final model, {layout.run_name(trial)}"
    run = client.create_run(experiment_id, tags={tag.key: tag.value for tag in layout.as_tags(tags)}, run_name=name)
    client.log_batch(run.info.run_id, params=layout.as_params(layout.trial_params(trial)))
    return str(run.info.run_id)


def _log_epochs(client: MlflowClient, run_id: str, made: FinalRun) -> None:
    now_ms = time.time_ns() // 1_000_000
    metrics = layout.as_metrics(made.numbers, now_ms, 0)
    for number, values in enumerate(made.epochs, start=1):
        seen = number * made.n_train
        metrics += layout.as_metrics({**values, "epoch": number, "examples_seen": seen}, now_ms, seen)
    for start in range(0, len(metrics), FULL):
        client.log_batch(run_id, metrics=metrics[start : start + FULL])


@contextmanager
def _working_on(tracking_uri: str, run_id: str) -> Iterator[None]:
    """Make a run MLflow's active one, as its functions for models need it; they find the store in the environment."""
    import mlflow

    before = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(tracking_uri)
    try:
        with mlflow.start_run(run_id=run_id):
            yield
    finally:
        mlflow.set_tracking_uri(before)  # type: ignore[arg-type]  # None, as it begins, unsets it


def _log_model(model: Any, examples: tuple[Any, Any], register: str | None) -> Any:
    import mlflow.keras
    from mlflow.models import infer_signature

    try:
        signature = infer_signature(*examples)
    except (MlflowException, TypeError) as error:
        raise TrackingError(f"MLflow makes no signature of the model's inputs and outputs: {error}.") from error
    log = logging.getLogger("mlflow")
    level = log.level
    log.setLevel(logging.ERROR)  # it tells how the registry goes on
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Keras's, MLflow's and NumPy's own, while others' code writes files
            return mlflow.keras.log_model(
                model,
                **_named(),
                signature=signature,
                registered_model_name=register,
                pip_requirements=[f"{name}=={version(name)}" for name in ("keras", "tensorflow")],
            )
    finally:
        log.setLevel(level)


def _named() -> dict[str, str]:
    """Return the name of the model, as MLflow's version calls the argument."""
    return {"artifact_path" if version("mlflow").startswith("2.") else "name": _MODEL}
