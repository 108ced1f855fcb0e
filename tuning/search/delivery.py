"""Delivery: MLflow made to agree with a study, when a search goes on and before somebody asks MLflow."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path

from tuning.objective import Objective
from tuning.passwords import without_passwords
from tuning.record.mlflow_tracker import MlflowTracker
from tuning.record.owed import FOLDER, OwedFolder
from tuning.record.store import resolve_tracking_uri
from tuning.record.tracker import Tracker
from tuning.study.claim import Claim, claimed
from tuning.study.storage import STORAGE_VARIABLE, StudyError, stored_settings
from tuning.study.study import Study


def relog(study: Study, tracker: Tracker) -> int:
    """Make MLflow agree with a study: end dead runs, log again what never arrived; return the number of such trials.

    Args:
        study: Open, and run by nobody else.
        tracker: It has begun the study.
    """
    ended = [trial for trial in study.records if trial.outcome is not None]
    to_rerun = {trial.trial_id for trial in ended if not trial.is_settled}
    epochs = {trial.trial_id: trial.reports[-1].epoch if trial.reports else 0 for trial in ended}
    tracker.reconcile(epochs.keys() - to_rerun, to_rerun)
    missing = tracker.missing(epochs)
    for trial in ended:
        if trial.trial_id in missing and trial.outcome is not None:
            tracker.start_trial(trial)
            for report in trial.reports:
                tracker.epoch(report)
            tracker.end_trial(trial.outcome)
    return len(missing)


def open_again(study: Study, claim: Claim) -> dict[str, str]:
    """Open a study that was recorded before, and return the settings that it was started with.

    Args:
        study: Not open.
        claim: On its directory and its storage.

    Raises:
        StudyError: If there is no such study, or another driver runs it.
    """
    claim.take(study.name)
    settings = stored_settings(claim.storage, study.name)
    study.open(claim.storage, Objective(settings["objective"], settings["mode"]), check=claim.check)
    return settings


def deliver_owed(name: str, directory: Path, tracking_uri: str | None, claim: Claim | None = None) -> str:
    """Deliver what MLflow lacks of a study that nobody runs, however long that takes, as long as the store takes it.

    Args:
        name: The study.
        directory: Its own.
        tracking_uri: The store that is asked, as `resolve_tracking_uri` takes it.
        claim: That on the study, if it is held already.

    Returns:
        One line for people; empty if nothing was owed.

    Raises:
        TrackingError: If the store does not answer.
    """
    noted = OwedFolder(directory / FOLDER).study()
    if noted is None:
        return ""
    asked = without_passwords(resolve_tracking_uri(tracking_uri))
    if noted[0] != asked:
        return f"What MLflow may lack of {name!r} is owed to {noted[0]}, not to {asked}. Give --tracking-uri."
    if claim is None and not (os.environ.get(STORAGE_VARIABLE) or (directory / "study.journal").exists()):
        return f"MLflow may lack some of {name!r}; set {STORAGE_VARIABLE} to its storage to have it delivered."
    try:
        with claimed(directory) if claim is None else nullcontext(claim) as held:
            return _deliver(name, OwedFolder(directory / FOLDER), tracking_uri, held, noted[1])
    except StudyError as error:
        return f"MLflow may lack some of {name!r}, which cannot be delivered now: {error}"


def _deliver(name: str, folder: OwedFolder, tracking_uri: str | None, claim: Claim, settings: Mapping[str, str]) -> str:
    n_documents = sum(1 for _ in folder.documents())
    study = Study(name)
    open_again(study, claim)
    tracker = MlflowTracker(tracking_uri, outbox=folder.directory, may_be_away=False)
    tracker.start_study(name, settings)
    n_runs = n_documents + relog(study, tracker)
    tracker.close(patience_s=math.inf)
    if folder.study() is not None or not n_runs:  # what is still owed has been told
        return ""
    return f"Delivered what MLflow lacked of {name!r} (runs: {n_runs})."
