"""StudyView: a study as it is at the moment, read without a claim on it, so that nothing is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from tuning.objective import Objective
from tuning.study.encoding import read_trial
from tuning.study.records import Records
from tuning.study.storage import StudyError, shared_storage, stored_settings


class StudyView:
    """What a study holds; its driver may go on meanwhile, and a trial that runs has no outcome yet.

    Args:
        name: The study's name.
        storage: Where it is.

    Raises:
        StudyError: If there is no such study, or its record has another format.
    """

    def __init__(self, name: str, storage: BaseStorage) -> None:
        self.name = name
        self.settings = stored_settings(storage, name)
        self.objective = Objective(self.settings["objective"], self.settings["mode"])
        study_id = storage.get_study_id_from_name(name)
        self._facts = dict(storage.get_study_user_attrs(study_id))
        found = (
            read_trial(frozen.user_attrs, has_ended=frozen.state is not TrialState.RUNNING)
            for frozen in storage.get_all_trials(study_id, deepcopy=False)
        )
        self.records = Records(trial for trial in found if trial is not None)

    def recall(self, name: str) -> Any:
        """Return a fact that was kept; None if there is none."""
        return self._facts.get(name)


def storage_of(directory: Path, storage_url: str | None = None) -> BaseStorage:
    """Return the storage of a study to read from, as `journal_of` finds it; a journal is read as it is.

    Raises:
        StudyError: If there is none.
    """
    shared = shared_storage(storage_url)
    if shared is not None:
        return shared
    journal = directory / "study.journal"
    if not journal.is_file():
        raise StudyError(f"A study must have been searched before it can be read; got {directory}. Check the name.")
    return JournalStorage(JournalFileBackend(str(journal)))
