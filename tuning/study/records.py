"""Records: the index of what a study knows, of which decisions ask."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from search_spaces.space import Setting
from tuning.machine.machine import Machine
from tuning.trial import Status, Trial

Key = tuple[Setting, int, str]


class Records:
    """Holds what a study knows, so that no decision has to walk through everything that is settled.

    Trials enter and change by `put`, which keeps the indices; readers that keep an index of their own, such as plans,
    follow `changes`.

    Args:
        trials: Trials in the order of their start.
        machine: What was measured of the machine before.
    """

    def __init__(self, trials: Iterable[Trial] = (), machine: Machine | None = None) -> None:
        self.machine = machine or Machine()
        self._trials: dict[str, Trial] = {}
        self._counted: dict[str, _Counted] = {}
        self._changes: list[str] = []
        self._settled: Counter[Key] = Counter()
        self._to_rerun: dict[str, Trial] = {}
        self._losses: Counter[Key] = Counter()
        self._counts: Counter[Status | None] = Counter()
        self._n_scored = 0
        for trial in trials:
            self.put(trial)

    def put(self, trial: Trial) -> None:
        """Take in a trial that has started, or what has become of it."""
        if (before := self._counted.get(trial.trial_id)) is not None:
            self._count(before, -1)
        counted = _Counted(trial.key, trial.status, trial.is_settled, trial.score is not None)
        self._trials[trial.trial_id] = trial
        self._counted[trial.trial_id] = counted
        self._count(counted, 1)
        self._changes.append(trial.trial_id)
        if counted.is_settled:
            self._to_rerun.pop(trial.trial_id, None)
        else:
            self._to_rerun[trial.trial_id] = trial

    def __len__(self) -> int:
        return len(self._trials)

    def __iter__(self) -> Iterator[Trial]:
        return iter(self._trials.values())

    def __getitem__(self, trial_id: str) -> Trial:
        return self._trials[trial_id]

    def __contains__(self, trial_id: str) -> bool:
        return trial_id in self._trials

    @property
    def n_settled(self) -> int:
        """The number of trials that run or have ended for good."""
        return self._settled.total()

    @property
    def n_running(self) -> int:
        """The number of trials that have not ended."""
        return self._counts[None]

    @property
    def n_scored(self) -> int:
        """The number of trials that have a score."""
        return self._n_scored

    @property
    def n_changes(self) -> int:
        """The number of changes so far; where `changes` goes on from."""
        return len(self._changes)

    def changes(self, since: int) -> Sequence[Trial]:
        """Return the trials that have started, reported or ended since so many changes, as they are now."""
        return [self._trials[trial_id] for trial_id in dict.fromkeys(self._changes[since:])]

    def has(self, trial: Trial) -> bool:
        """Return whether the same training runs or has ended for good."""
        return self._settled[trial.key] > 0

    def losses(self, trial: Trial) -> int:
        """Return how often the same training was lost."""
        return self._losses[trial.key]

    def interrupted_to_rerun(self) -> Trial | None:
        """Return the first interrupted or lost trial that nobody has run again; None if there is none."""
        for trial_id, trial in list(self._to_rerun.items()):
            if not self.has(trial):
                return trial
            del self._to_rerun[trial_id]
        return None

    def _count(self, counted: _Counted, by: int) -> None:
        self._counts[counted.status] += by
        self._n_scored += by * counted.has_score
        if counted.is_settled:
            self._settled[counted.key] += by
        if counted.status is Status.LOST:
            self._losses[counted.key] += by


class _Counted(NamedTuple):
    """What a trial counts as, so that it can be counted again when it has changed."""

    key: Key
    status: Status | None
    is_settled: bool
    has_score: bool


class ChangeReader:
    """Reads what has changed in some records since the last time, for whoever keeps an index of its own."""

    def __init__(self) -> None:
        self._n_read = 0

    def new(self, records: Records) -> Sequence[Trial]:
        """Return the trials that have started, reported or ended since the last call, as they are now."""
        changed = records.changes(self._n_read)
        self._n_read = records.n_changes
        return changed
