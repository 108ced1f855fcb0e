"""Lease: says in a study's storage which driver runs it, so that there is no second one, on whatever machine.

A driver renews its lease while it lives. One that finds another's lease waits whether that one is renewed, by its own
clock, since the clocks of two machines need not agree. A driver that has not renewed its lease for long, because its
machine slept or its storage was away, looks before it writes whether another one has taken over meanwhile.
"""

from __future__ import annotations

import datetime
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from optuna.storages import BaseStorage

from tuning.study.storage import StudyError

GRACE_S = 30.0
"""A lease that is not renewed for so long may be taken over."""
_RENEWAL_S = 5.0
_SETTLING_S = 0.5  # of two drivers that take a lease at once, the one that wrote last has it
_ATTRIBUTE = "lease"
_PROCESSES = Path("/proc")


class LostLeaseError(RuntimeError):
    """Another driver has taken the study over; one line."""


@dataclass(frozen=True)
class Holder:
    """A driver that runs a study.

    Args:
        token: Its own, unlike any other's.
        host: The name of its machine.
        process: Its process's number.
        place: Where that number means something: the machine's start and its namespace of processes.
        began: When its process began, in the machine's ticks, as processes' numbers are given out again.
        since: When it took the lease, as people read it.
        renewals: How often it has renewed the lease.
    """

    token: str
    host: str
    process: int
    place: str
    began: int
    since: str
    renewals: int = 0

    @classmethod
    def this_process(cls) -> Holder:
        """Return what this process is as a holder."""
        since = datetime.datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
        process = os.getpid()
        return cls(uuid.uuid4().hex, socket.gethostname(), process, _place(), _began(process) or 0, since)

    @property
    def has_ended(self) -> bool:
        """Whether its process is known to have ended; of another machine's nothing is known."""
        here = _place()
        return bool(here) and self.place == here and _began(self.process) != self.began

    def __str__(self) -> str:
        return f"process {self.process} on {self.host} since {self.since}"


class Lease:
    """A driver's right to write to a study; None of it is in the storage before `take`.

    Args:
        storage: Of the study.
        clock: Seconds, which count while the machine sleeps.
        sleep: Waits for so many seconds.
    """

    def __init__(
        self,
        storage: BaseStorage,
        *,
        clock: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_BOOTTIME),
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._storage, self._clock, self._sleep = storage, clock, sleep
        self._holder = Holder.this_process()
        self._study_id: int | None = None
        self._renewals, self._renewed_at = 0, 0.0
        self._ended = threading.Event()

    def take(self, study_id: int) -> None:
        """Take the lease of a study, if it is not held already.

        Raises:
            StudyError: If another driver runs the study.
        """
        if study_id == self._study_id:
            return
        self.give_back()  # that of another study, such as one that has been set aside
        other = _read(self._storage, study_id)
        if other is not None and not other.has_ended:
            self._wait_for_silence(study_id, other)
        self._renew(study_id)
        self._sleep(_SETTLING_S)
        winner = _read(self._storage, study_id)
        if winner is None or winner.token != self._holder.token:
            raise held_by(winner)
        self._study_id = study_id
        self._ended = threading.Event()
        threading.Thread(target=self._keep, args=(study_id, self._ended), name="lease", daemon=True).start()

    def check(self) -> None:
        """Make sure that the study is still this driver's; called before each write.

        Raises:
            LostLeaseError: If another driver has taken over.
        """
        if self._study_id is not None and self._clock() - self._renewed_at > GRACE_S / 2:
            self._confirm(self._study_id)

    def give_back(self) -> None:
        """Let another driver run the study at once."""
        self._ended.set()
        study_id, self._study_id = self._study_id, None
        if study_id is None:
            return
        with suppress(Exception):  # whoever finds the lease of a process that has ended takes it
            holder = _read(self._storage, study_id)
            if holder is not None and holder.token == self._holder.token:
                self._storage.set_study_user_attr(study_id, _ATTRIBUTE, None)

    def _renew(self, study_id: int) -> None:
        """Show that this driver lives."""
        self._renewals += 1
        shown = {**asdict(self._holder), "renewals": self._renewals}
        self._storage.set_study_user_attr(study_id, _ATTRIBUTE, shown)
        self._renewed_at = self._clock()

    def _confirm(self, study_id: int) -> None:
        holder = _read(self._storage, study_id)
        if holder is None or holder.token != self._holder.token:
            raise LostLeaseError(f"Another driver has taken the study over: {holder or 'it has ended again'}.")
        self._renew(study_id)

    def _keep(self, study_id: int, ended: threading.Event) -> None:
        """Renew the lease, again and again, until it is given back or lost; `check` tells of a loss."""
        while not ended.wait(_RENEWAL_S):
            try:
                self._confirm(study_id)
            except LostLeaseError:
                return
            except Exception as error:  # the storage is away; the next write tells, if it stays away
                logging.getLogger(__name__).debug("The lease could not be renewed: %s", error)

    def _wait_for_silence(self, study_id: int, other: Holder) -> None:
        """Wait until a lease has not been renewed for `GRACE_S`; refuse if it is renewed."""
        logging.getLogger(__name__).warning(
            f"The study was last run by {other}; waiting up to {GRACE_S:g} s to see whether that one still lives."
        )
        until = self._clock() + GRACE_S
        while self._clock() < until:
            self._sleep(1.0)
            now = _read(self._storage, study_id)
            if now is None or now.has_ended:
                return
            if now != other:
                raise held_by(now)


def refuse_if_renewed(storage: BaseStorage, study_id: int, *, sleep: Callable[[float], None] = time.sleep) -> None:
    """Refuse a study whose lease another driver renews within the seconds in which it has to.

    Raises:
        StudyError: If one does.
    """
    other = _read(storage, study_id)
    waited = 0.0
    while other is not None and not other.has_ended and waited <= _RENEWAL_S:
        sleep(1.0)
        waited += 1.0
        now = _read(storage, study_id)
        if now is not None and now != other:
            raise held_by(now)
        other = now


def _place() -> str:
    """Return what tells whether two processes' numbers mean the same; empty where the system does not tell."""
    try:
        start = (_PROCESSES / "sys/kernel/random/boot_id").read_text().strip()
        return f"{start} {os.stat(_PROCESSES / 'self/ns/pid').st_ino}"
    except OSError:
        return ""


def _began(process: int) -> int | None:
    """Return when a process began, in ticks since the start of the machine; None if there is none any more."""
    try:
        fields = (_PROCESSES / str(process) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])


def _read(storage: BaseStorage, study_id: int) -> Holder | None:
    found: Any = storage.get_study_user_attrs(study_id).get(_ATTRIBUTE)
    return Holder(**found) if found else None


def held_by(holder: Holder | None, study: str = "it") -> StudyError:
    """Return the error that tells who runs a study; None for one who has not said so."""
    who = "another one" if holder is None else str(holder)
    return StudyError(f"A study is run by one process at a time; {study} is run by {who}. Wait for it or stop it.")
