"""The study's storage: one Optuna study per search, continued or started over."""

from __future__ import annotations

import datetime
import logging
import os
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage, get_storage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext, make_url

from tuning.full_disk import full_disk_error, is_full_disk
from tuning.objective import Objective
from tuning.passwords import without_passwords
from tuning.study.encoding import read_trial
from tuning.study.journal import mend, unlock
from tuning.study.patient_storage import PatientStorage
from tuning.trial import Trial

STORAGE_VARIABLE = "BATCH_SIZE_STORAGE"
"""The environment's variable for a storage whose URL, and password, no command line is to show."""

METRIC_NAMES = "study:metric_names"
"""Where Optuna keeps the name of the objective, which its dashboard shows in place of "Objective 0"; its
`set_metric_names` does the same, but is experimental and warns (optuna 5.0.0)."""

_LONGEST_TRANSACTION_S, _LONGEST_LOCK_S = 20, 60

FORMAT = "2"
"""The format of the record; a study of another one cannot be continued."""
SETTINGS = "settings"
"""The fact of a study that tells its settings, those of `check_settings` and its format."""
_FORMAT = "format"


class StudyError(ValueError):
    """A study that cannot be opened; one line with the rule, the value and the way out, without passwords."""

    def __init__(self, message: str) -> None:
        super().__init__(without_passwords(message))


def journal_of(directory: Path, storage_url: str | None = None) -> BaseStorage:
    """Return the storage at a URL, else at that of the variable BATCH_SIZE_STORAGE, else the journal in a directory."""
    shared = shared_storage(storage_url)
    if shared is not None:
        return shared
    journal = directory / "study.journal"
    unlock(journal)
    if mend(journal):
        logging.getLogger(__name__).warning(
            f"{journal} held a record that a crash or a full disk had cut off. It was taken out; nothing else is lost. "
            f"What there was is kept in {journal.name}.torn."
        )
    return JournalStorage(_NamedJournal(str(journal)))


class _NamedJournal(JournalFileBackend):
    """A journal whose errors say which file could not be written."""

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        try:
            super().append_logs(logs)
        except OSError as error:
            error.filename = error.filename or self._file_path
            raise


def shared_storage(storage_url: str | None) -> BaseStorage | None:
    """Return the storage at a URL, else at that of the variable BATCH_SIZE_STORAGE; None if neither is given.

    Raises:
        StudyError: If it cannot be reached.
        OSError: If the disk is full.
    """
    storage_url = storage_url or os.environ.get(STORAGE_VARIABLE) or None
    if storage_url is None:
        return None
    try:
        return _storage_at(storage_url)
    except Exception as error:
        if is_full_disk(error):
            raise full_disk_error(_file_of(storage_url)) from None
        why = " ".join(str(error).split())
        raise StudyError(
            f"The storage must be reachable; got {storage_url!r} ({why:.200}). Name a database that is there, such "
            "as sqlite:///FILE in a folder that exists, or none for a journal file."
        ) from None


def _storage_at(url: str) -> BaseStorage:
    """Return the storage at a URL; that of a server outlasts a restart of it."""
    if url.startswith("sqlite"):
        file = RDBStorage(url)
        event.listen(file.engine, "handle_error", partial(_tell_of_full_disk, _file_of(url)))
        return get_storage(file)
    if not url.startswith(("postgresql", "mysql", "mariadb")):
        return get_storage(url)
    storage = PatientStorage(url)
    if url.startswith("postgresql"):
        event.listen(storage.engine, "connect", limit_waits)
        storage.engine.dispose()  # of connections that were made before
    return storage


def _file_of(url: str) -> Path:
    """Return the file of a sqlite storage, which its URL may name by another one; the working directory for others."""
    database = make_url(url).database if url.startswith("sqlite") else None
    return Path(urlsplit(database).path) if database else Path.cwd()


def _tell_of_full_disk(file: Path, context: ExceptionContext) -> None:
    """Have a full disk be told with the file that has no room, instead of by Optuna's error, which names none."""
    if is_full_disk(context.original_exception):
        raise full_disk_error(file)


def limit_waits(connection: Any, _record: object = None) -> None:
    """Have PostgreSQL end a transaction in which a driver has stopped: its successor would wait for that for ever.

    A driver that was silent for so long may lose its lease soon after (`tuning.study.lease`).
    """
    with connection.cursor() as cursor:
        cursor.execute(f"SET idle_in_transaction_session_timeout = '{_LONGEST_TRANSACTION_S}s'")
        cursor.execute(f"SET lock_timeout = '{_LONGEST_LOCK_S}s'")
    connection.commit()


def check_settings(
    storage: BaseStorage,
    name: str,
    settings: Mapping[str, str],
    may_grow: Callable[[Mapping[str, str]], Collection[str]] = lambda _: (),
) -> dict[str, str]:
    """Make sure that a study of this name, if there is one, is the same search, and return its settings.

    Args:
        storage: From `journal_of`.
        name: The study's name.
        settings: What makes two searches the same.
        may_grow: Returns, of the study's settings, the names of those that may differ, since it can take in more.

    Returns:
        Those of the study; empty if there is none.

    Raises:
        StudyError: If it has other settings; the message says which.
    """
    if name not in optuna.get_all_study_names(storage):
        return {}
    study_id = storage.get_study_id_from_name(name)
    stored = dict(storage.get_study_user_attrs(study_id).get(SETTINGS, {**settings, _FORMAT: FORMAT}))
    if (found := stored.pop(_FORMAT, "1")) != FORMAT:
        raise StudyError(
            f"The study {name!r} must have a record of format {FORMAT}; got {found}, of another version of this "
            "program. Give --fresh to set it aside, or another --study name."
        )
    differences = [key for key in _differences(stored, settings) if key not in may_grow(stored)]
    if differences:
        told = "; ".join(f"{key} was {stored.get(key)}, now {settings.get(key)}" for key in differences)
        raise StudyError(f"The study {name!r} exists with other settings: {told}. {_way_out(storage, study_id)}")
    return stored


def _way_out(storage: BaseStorage, study_id: int) -> str:
    return (
        f"Its trainings ({storage.get_n_trials(study_id)}) cannot be gone on with so: give the same settings to "
        "continue it, another --study name, or --fresh to set it aside and train them all again."
    )


def stored_settings(storage: BaseStorage, name: str) -> dict[str, str]:
    """Return the settings that a study was started with.

    Args:
        storage: From `journal_of`.
        name: The study's name.

    Raises:
        StudyError: If there is no study of this name, or its record has another format.
    """
    names = optuna.get_all_study_names(storage)
    if name not in names:
        known = f"it has {', '.join(sorted(names))}" if names else "it has none"
        raise StudyError(f"The storage must hold the study {name!r}; {known}. Check the name and the directory.")
    stored = dict(storage.get_study_user_attrs(storage.get_study_id_from_name(name)).get(SETTINGS, {}))
    return check_settings(storage, name, {key: value for key, value in stored.items() if key != _FORMAT})


def recorded_trials(storage: BaseStorage, name: str) -> list[Trial]:
    """Return the trials of a study that exists, those that run again included, without opening it."""
    frozen = storage.get_all_trials(storage.get_study_id_from_name(name), deepcopy=False)
    found = (read_trial(each.user_attrs, has_ended=True) for each in frozen)
    return [trial for trial in found if trial is not None]


def create_study(storage: BaseStorage, name: str, *, objective: Objective, settings: Mapping[str, str]) -> None:
    """Create a study, if there is none of this name.

    Args:
        storage: From `journal_of`.
        name: The study's name.
        objective: The metric that decides.
        settings: Stored with a new study, for `check_settings`.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # progress is shown otherwise
    study = optuna.create_study(
        storage=storage,
        study_name=name,
        direction="maximize" if objective.sign > 0 else "minimize",
        sampler=optuna.samplers.RandomSampler(),  # a plan decides; Optuna only keeps the record
        load_if_exists=True,
    )
    if SETTINGS not in study.user_attrs:
        study.set_user_attr(SETTINGS, with_format(settings))
        study_id = storage.get_study_id_from_name(name)
        storage.set_study_system_attr(study_id, METRIC_NAMES, [objective.name])


def with_format(settings: Mapping[str, str]) -> dict[str, str]:
    """Return settings as a study keeps them, with the format of its record."""
    return {**settings, _FORMAT: FORMAT}


def set_aside(storage: BaseStorage, name: str) -> None:
    """Start over without losing data: rename the study of this name, if there is one."""
    if name not in optuna.get_all_study_names(storage):
        return
    until = datetime.datetime.now().strftime("%Y-%m-%d %H:%M:%S")
    optuna.copy_study(
        from_study_name=name, from_storage=storage, to_storage=storage, to_study_name=f"{name} (until {until})"
    )
    optuna.delete_study(study_name=name, storage=storage)


def _differences(stored: Mapping[str, str], asked: Mapping[str, str]) -> list[str]:
    return [name for name in {**stored, **asked} if stored.get(name) != asked.get(name)]
