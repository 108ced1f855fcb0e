"""Experience: the trials of a study as the numbers that a proposal is made from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import optuna
from optuna.trial import FrozenTrial

from search_spaces.space import Setting
from tuning.proposals.axes import Array
from tuning.studies.coordinates import Coordinates
from tuning.studies.records import TrialRecord, read_record
from tuning.trial import Status

_BAD = (Status.DIVERGED, Status.FAILED)


@dataclass(frozen=True)
class Experience:
    """Trials by what they teach.

    Args:
        points: (n, axes) of trials with a value.
        values: (n,) larger is better; NaN where training diverged or failed, or its score is no finite number.
        settings: The n settings.
        pending: (m, axes) of trials that run.
        failed: (f, axes) of trials that ran out of memory.
        worked: (w, axes) of trials that completed.
        timed: (t, axes) of completed trials whose training was timed.
        seconds: (t,) their training seconds.
    """

    points: Array
    values: Array
    settings: tuple[Setting, ...]
    pending: Array
    failed: Array
    worked: Array
    timed: Array
    seconds: Array

    @property
    def count(self) -> int:
        """Trials that have ended with something to teach, or still run."""
        return len(self.points) + len(self.pending) + len(self.failed)

    def holds(self, point: Array) -> bool:
        """Whether an (axes,) point has been tried or is being tried."""
        tried = np.vstack([self.points, self.pending, self.failed])
        return bool(np.isclose(tried, point, equal_nan=True).all(axis=1).any())


class ExperienceReader:
    """Reads a study again and again; a trial that has ended is read once.

    Args:
        coordinates: Of the study's trials.
        maximize: Whether a larger objective is better.
    """

    def __init__(self, coordinates: Coordinates, *, maximize: bool) -> None:
        self._coordinates = coordinates
        self._sign = 1.0 if maximize else -1.0
        self._ended: dict[int, tuple[TrialRecord, Array, float]] = {}

    def read(self, study: optuna.Study) -> Experience:
        """What the study's trials teach now."""
        found = [entry for trial in study.get_trials(deepcopy=False) if (entry := self._entry(trial)) is not None]

        def points(chosen: Callable[[TrialRecord], bool]) -> Array:
            rows = [point for record, point, _ in found if chosen(record)]
            return np.array(rows).reshape(-1, len(self._coordinates.space.axes))

        def is_timed(record: TrialRecord) -> bool:
            seconds = record.outcome.seconds if record.outcome else None
            return record.status is Status.COMPLETED and seconds is not None and seconds > 0.0

        def has_value(record: TrialRecord) -> bool:
            return record.status in (Status.COMPLETED, Status.PRUNED, *_BAD)

        return Experience(
            points=points(has_value),
            values=np.array([value for record, _, value in found if has_value(record)]),
            settings=tuple(record.setting for record, _, _ in found if has_value(record)),
            pending=points(lambda record: record.status is None),
            failed=points(lambda record: record.status is Status.OUT_OF_MEMORY),
            worked=points(lambda record: record.status is Status.COMPLETED),
            timed=points(is_timed),
            seconds=np.array([record.outcome.seconds for record, _, _ in found if record.outcome and is_timed(record)]),
        )

    def _entry(self, trial: FrozenTrial) -> tuple[TrialRecord, Array, float] | None:
        if trial.number in self._ended:
            return self._ended[trial.number]
        record = read_record(trial)
        if record is None:
            return None
        value = record.score if record.status is Status.COMPLETED else _last_value(trial, record)
        has_value = value is not None and np.isfinite(value)
        signed = self._sign * value if value is not None and has_value else np.nan
        entry = record, self._coordinates.point(trial.params), signed
        if record.outcome is not None:
            self._ended[trial.number] = entry
        return entry


def _last_value(trial: FrozenTrial, record: TrialRecord) -> float | None:
    """A pruned trial counts with the last value it reported: it would hardly have ended worse."""
    if record.status is not Status.PRUNED or trial.last_step is None:
        return None
    return trial.intermediate_values[trial.last_step]
