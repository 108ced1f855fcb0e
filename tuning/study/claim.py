"""Claim: a driver's right to run a study: the lock on its directory and, in a shared storage, the lease."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO

import optuna
from optuna.storages import BaseStorage, JournalStorage

from tuning.full_disk import is_full_disk
from tuning.study.lease import Holder, Lease, held_by, refuse_if_renewed
from tuning.study.storage import StudyError, journal_of, shared_storage


class Claim:
    """What is held while a driver runs a study, so that a trial found running at the start is known to be dead.

    The journal lies in the study's directory, whose lock the system lets go when the driver ends, however it ends. A
    storage that other machines reach holds a lease beside it.

    Args:
        storage: Of the study.
    """

    def __init__(self, storage: BaseStorage) -> None:
        self.storage = storage
        self._lease = None if isinstance(storage, JournalStorage) else Lease(storage)

    def take(self, name: str) -> None:
        """Take the lease of a study, if there is one of this name and the storage is shared.

        Raises:
            StudyError: If another driver runs it.
        """
        if self._lease is not None and name in optuna.get_all_study_names(self.storage):
            self._lease.take(self.storage.get_study_id_from_name(name))

    def check(self) -> None:
        """Make sure that nobody else has taken the study over; called before each write.

        Raises:
            LostLeaseError: If another driver has.
        """
        if self._lease is not None:
            self._lease.check()

    def close(self) -> None:
        """Let another driver run the study."""
        if self._lease is not None:
            self._lease.give_back()


@contextmanager
def claimed(directory: Path, storage_url: str | None = None) -> Iterator[Claim]:
    """Yield the claim on a study's directory and storage.

    Args:
        directory: The study's own.
        storage_url: As `journal_of` takes it.

    Raises:
        StudyError: If the directory cannot be written, another driver holds it, or the storage cannot be reached.
    """
    shared = shared_storage(storage_url)  # one that cannot be reached is told before the directory is made
    with closing(StudyLock(directory)), closing(Claim(shared or journal_of(directory))) as claim:
        yield claim


def refuse_if_run(directory: Path, storage_url: str | None, name: str) -> None:
    """Refuse a study that another driver runs at this moment; whether a silent one has ended, `Claim.take` finds out.

    A search whose devices may all be held by that driver looks before it waits for them.

    Args:
        directory: The study's own.
        storage_url: As `journal_of` takes it.
        name: The study's name.

    Raises:
        StudyError: If another driver runs it, or the storage cannot be reached.
    """
    if is_claimed(directory):
        StudyLock(directory).close()  # which tells who has it
    shared = shared_storage(storage_url)
    if shared is not None and name in optuna.get_all_study_names(shared):
        refuse_if_renewed(shared, shared.get_study_id_from_name(name))


class StudyLock:
    """Held while a driver runs a study, so that a trial found running at the start is known to be dead.

    Args:
        directory: The study's own.

    Raises:
        StudyError: If the directory cannot be written, or another driver holds the lock.
        OSError: If the disk is full.
    """

    def __init__(self, directory: Path) -> None:
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._file: IO[str] = (directory / "lock").open("a+")
        except OSError as error:
            if is_full_disk(error):
                raise
            raise StudyError(f"The study's directory must be writable; got {directory} ({error.strerror}).") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise held_by(self._holder(), str(directory)) from None
        self._file.truncate(0)
        self._file.write(json.dumps(asdict(Holder.this_process())))
        self._file.flush()

    def close(self) -> None:
        """Let another driver run the study."""
        self._file.close()

    def _holder(self) -> Holder | None:
        """Return who holds the lock; None if it has not said so yet."""
        with self._file:
            self._file.seek(0)
            try:
                return Holder(**json.loads(self._file.read()))
            except (ValueError, TypeError):
                return None


def is_claimed(directory: Path) -> bool:
    """Return whether a driver of this machine runs the study of a directory now."""
    try:
        with (directory / "lock").open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
