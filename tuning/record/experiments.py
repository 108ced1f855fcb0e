"""A study's MLflow experiment: made or reused, found by name, set aside when a search starts over."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Experiment, Run, ViewType
from mlflow.exceptions import MlflowException

from tuning.record import layout
from tuning.record.store import TrackingError, sqlite_path

_PAGE = 1000


def open_experiment(client: MlflowClient, study: str, tags: Mapping[str, str]) -> str:
    """Return the id of the study's experiment, made with these tags if there is none; `show` tells one that there was.

    An experiment that someone made beforehand under this name is used while it is empty. One that was moved to MLflow's
    trash is renamed there, because MLflow never gives its name away.

    Raises:
        TrackingError: If another program has logged runs under this name.
    """
    experiment = client.get_experiment_by_name(study)
    if experiment is not None and experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)
        _rename(client, experiment, "deleted")
        client.delete_experiment(experiment.experiment_id)
        experiment = None
    if experiment is None:
        return client.create_experiment(study, artifact_location(client, study), _all_tags(study, tags))
    if not is_ours(experiment) and client.search_runs([experiment.experiment_id], max_results=1):
        raise TrackingError(
            f"The MLflow experiment {study!r} holds runs of another program. Choose another name with --study."
        )
    if not is_ours(experiment):
        client.set_experiment_tag(experiment.experiment_id, layout.STUDY, study)  # before it holds runs
    return experiment.experiment_id


def show(client: MlflowClient, experiment_id: str, study: str, tags: Mapping[str, str]) -> None:
    """Tag the study's experiment, as far as it is not tagged so."""
    known = client.get_experiment(experiment_id).tags
    for name, value in _all_tags(study, tags).items():
        if known.get(name) != value:
            client.set_experiment_tag(experiment_id, name, value)


def _all_tags(study: str, tags: Mapping[str, str]) -> dict[str, str]:
    own = {layout.UPDATED: _now_ms(), layout.STUDY: study}
    return {name: layout.cut_tag(value) for name, value in tags.items()} | own


def set_aside(client: MlflowClient, study: str) -> str | None:
    """Rename the study's experiment, so that its name is free and nothing is lost; the new name, None without one."""
    experiment = client.get_experiment_by_name(study)
    if experiment is None or experiment.lifecycle_stage == "deleted":
        return None
    return _rename(client, experiment, "until")


def find_experiment(client: MlflowClient, name: str) -> Experiment:
    """Return the experiment of that name.

    Raises:
        TrackingError: If there is none; it says which there are.
    """
    experiment = client.get_experiment_by_name(name)
    if experiment is None or experiment.lifecycle_stage == "deleted":
        raise TrackingError(f"There is no MLflow experiment {name!r}; there are: {names(client)}.")
    return experiment


def names(client: MlflowClient, limit: int = 20) -> str:
    """Return the newest experiments' names, for a message."""
    return ", ".join(repr(each.name) for each in client.search_experiments(max_results=limit))


def our_experiments(client: MlflowClient) -> list[Experiment]:
    """Return the experiments that hold studies, the most recently written first."""
    found = _pages(lambda token: client.search_experiments(max_results=_PAGE, page_token=token))
    return sorted((each for each in found if is_ours(each)), key=_updated, reverse=True)


def is_ours(experiment: Experiment) -> bool:
    """Return whether a search of this package made it."""
    return layout.STUDY in experiment.tags


def settings_of(experiment: Experiment) -> dict[str, str]:
    """Return the settings that the study was started with."""
    return {
        name.removeprefix(layout.SETTINGS): value
        for name, value in experiment.tags.items()
        if name.startswith(layout.SETTINGS)
    }


def all_runs(client: MlflowClient, experiment_id: str) -> list[Run]:
    """Return every run of an experiment that is not in the trash, oldest first, however many."""
    return list(
        _pages(
            lambda token: client.search_runs(
                [experiment_id],
                run_view_type=ViewType.ACTIVE_ONLY,
                max_results=_PAGE,
                order_by=["attributes.start_time ASC"],
                page_token=token,
            )
        )
    )


def touch(client: MlflowClient, experiment_id: str) -> None:
    """Make it the most recently written study."""
    client.set_experiment_tag(experiment_id, layout.UPDATED, _now_ms())


def _pages(fetch: Callable[[str | None], Any]) -> Iterator[Any]:
    token: str | None = None
    while True:
        page = fetch(token)
        yield from page
        token = page.token
        if not token:
            return


def _rename(client: MlflowClient, experiment: Experiment, how: str) -> str:
    name = f"{experiment.name} ({how} {datetime.now():%Y-%m-%d %H:%M:%S})"
    for attempt in range(1, 100):
        candidate = name if attempt == 1 else f"{name} {attempt}"
        try:
            client.rename_experiment(experiment.experiment_id, candidate)
        except MlflowException as error:
            if client.get_experiment_by_name(candidate) is None:
                raise TrackingError(f"{experiment.name!r} cannot be renamed: {error}.") from None
        else:
            return candidate
    raise TrackingError(f"No name is free to set {experiment.name!r} aside. Choose another name with --study.")


def artifact_location(client: MlflowClient, study: str) -> str | None:
    """Return where a new experiment's artifacts go; None leaves it to the server."""
    # A server knows where its artifacts go. For a file it would be a folder `mlruns` wherever the process happens to
    # run; beside the database it can be found again.
    path = sqlite_path(client.tracking_uri)
    if path is None:
        return None
    slug = re.sub(r"[^A-Za-z0-9]+", "-", study).strip("-")[:40]
    return (path.parent / "mlartifacts" / f"{slug}-{uuid.uuid4().hex[:8]}").as_uri()


def _now_ms() -> str:
    return str(time.time_ns() // 1_000_000)


def _updated(experiment: Experiment) -> int:
    value = experiment.tags.get(layout.UPDATED, "")
    return int(value) if value.isdigit() else 0
