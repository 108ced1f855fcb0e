"""Outbox: what is owed to a store that may be away, be slow or refuse; in order for each run, no run behind another."""

from __future__ import annotations

import contextlib
import math
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

MOST_FAILURES = 5
"""So often a run may fail while the store takes others; at the next failure it counts as refused."""


class Reaction(Enum):
    """What to make of a write that failed."""

    WAIT = auto()
    """The same write may succeed later."""
    DENIED = auto()
    """It may succeed once the store lets us in."""
    REFUSED = auto()
    """It never will."""


class RunWriter(Protocol):
    """Writes one run, piece by piece. Each piece must do no harm when written twice: its answer may have been lost."""

    @property
    def name(self) -> str:
        """What it writes, for people and to tell it from others; a later writer of that name takes its place."""
        ...

    def write_next(self) -> bool:
        """Write the next piece; return whether there may be more."""
        ...

    def abandon(self, reason: str) -> None:
        """Leave the run as it is, for a piece was refused; called once, and may fail."""
        ...


@dataclass
class _Stuck:
    """How often a run has failed while the store took others."""

    times: int = 0
    n_written: int = -1


class Outbox:
    """Holds the writers that owe something, and lets one after another write.

    It keeps no copies: a writer refers to what is to be written, and whatever is added before its turn goes with it.
    A failure makes everything pause, with pauses that double up to a limit, and puts the run that failed behind the
    others, so that a run which the store can never take holds nothing up. Such a run is given up: at once where the
    store refuses it, and after `MOST_FAILURES` failures between which the store took others.

    One thread calls `step`; any thread calls the rest.

    Args:
        react: What to make of an exception.
        first_pause_s: Seconds without attempts after the first failure.
        longest_pause_s: The most seconds without attempts.
    """

    def __init__(
        self, react: Callable[[Exception], Reaction], *, first_pause_s: float = 0.25, longest_pause_s: float = 60.0
    ) -> None:
        self._react = react
        self._first_pause_s, self._longest_pause_s = first_pause_s, longest_pause_s
        self._lock = threading.Lock()
        self._waiting: OrderedDict[str, tuple[RunWriter, float]] = OrderedDict()
        self._writing: RunWriter | None = None
        self._stuck: dict[str, _Stuck] = {}
        self._n_written = 0
        self._pause_s, self._quiet_until = first_pause_s, -math.inf
        self.refused: dict[str, Exception] = {}
        self.failures = 0
        """Failures since the last success."""
        self.trouble: tuple[Reaction, Exception] | None = None
        """The last failure; None once something has succeeded since."""

    def owe(self, writer: RunWriter, due: float = -math.inf) -> None:
        """Note that a writer has something to write; one that was refused writes nothing any more.

        Args:
            writer: It takes the place of another one of its name.
            due: The moment of `step`'s clock before which it need not be written; the earliest one counts.
        """
        with self._lock:
            if writer.name in self.refused:
                return
            known, before = self._waiting.get(writer.name, (None, math.inf))
            self._waiting[writer.name] = writer, min(due, before) if known is writer else due

    def begin_anew(self, name: str) -> None:
        """Forget what was owed, or refused, under a name."""
        with self._lock:
            self._waiting.pop(name, None)
            self.refused.pop(name, None)
            self._stuck.pop(name, None)

    def __len__(self) -> int:
        return len(self._waiting) + (self._writing is not None)

    def owed(self) -> list[str]:
        """Return the names of those that wait, the one that is writing included."""
        with self._lock:
            writing = [self._writing.name] if self._writing else []
            return list(dict.fromkeys([*writing, *self._waiting]))

    def hurry(self) -> None:
        """Let all write now, with short pauses after further failures."""
        with self._lock:
            for name, (writer, _) in self._waiting.items():
                self._waiting[name] = writer, -math.inf
            self._pause_s, self._quiet_until, self.failures = self._first_pause_s, -math.inf, 0

    def step(self, now: float) -> float:
        """Write one piece, if anything is due; return the seconds until the next one may be written.

        Args:
            now: Seconds from any origin, never running backwards.
        """
        writer, wait_s = self._take(now)
        if writer is None:
            return wait_s
        try:
            more = writer.write_next()
        except Exception as error:
            return self._failed(writer, error, now)
        self._succeeded(writer, more=more)
        return 0.0

    def _take(self, now: float) -> tuple[RunWriter | None, float]:
        """Return the first writer that is due; None, with the seconds until then, if there is none."""
        with self._lock:
            if not self._waiting or now < self._quiet_until:
                return None, self._quiet_until - now if self._waiting else math.inf
            name = next((name for name, (_, due) in self._waiting.items() if due <= now), None)
            if name is None:
                return None, min(due for _, due in self._waiting.values()) - now
            self._writing = self._waiting.pop(name)[0]
            return self._writing, 0.0

    def _succeeded(self, writer: RunWriter, *, more: bool) -> None:
        with self._lock:
            self._n_written += 1
            self._stuck.pop(writer.name, None)
            self.failures, self.trouble = 0, None
            self._pause_s, self._quiet_until = self._first_pause_s, -math.inf
            self._writing = None
            if more:
                self._put_back(writer, first=True)

    def _failed(self, writer: RunWriter, error: Exception, now: float) -> float:
        reaction = self._react(error)
        if reaction is Reaction.REFUSED or self._is_hopeless(writer):
            self._refuse(writer, error)
            return 0.0
        with self._lock:
            pause_s = self._pause_s
            self.failures, self.trouble = self.failures + 1, (reaction, error)
            self._quiet_until, self._pause_s = now + pause_s, min(2 * pause_s, self._longest_pause_s)
            self._writing = None
            self._put_back(writer, first=False)
        return pause_s

    def _is_hopeless(self, writer: RunWriter) -> bool:
        """Return whether a run has failed so often, while the store took others, that it is the run's own fault."""
        with self._lock:
            stuck = self._stuck.setdefault(writer.name, _Stuck())
            stuck.times += self._n_written > stuck.n_written
            stuck.n_written = self._n_written
            return stuck.times > MOST_FAILURES

    def _refuse(self, writer: RunWriter, error: Exception) -> None:
        with self._lock:
            self.refused[writer.name] = error
            self._stuck.pop(writer.name, None)
        with contextlib.suppress(Exception):  # the run then stays as it is, and is named all the same
            writer.abandon(str(error))
        with self._lock:
            self._writing = None
            if self._waiting.get(writer.name, (None,))[0] is writer:
                del self._waiting[writer.name]

    def _put_back(self, writer: RunWriter, *, first: bool) -> None:
        """Let a writer wait for its next turn, unless another has taken its place meanwhile."""
        if self._waiting.get(writer.name, (writer,))[0] is writer:
            self._waiting[writer.name] = writer, -math.inf
            self._waiting.move_to_end(writer.name, last=not first)
