"""Experience: the trials of a study as the numbers that a proposal is made from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial

from search_spaces.space import Setting
from tuning.objective import Objective
from tuning.plans.halving import RUNGS
from tuning.proposals.axes import Array, Axis, Condition, Mask, Shear, Space
from tuning.study.encoding import BATCH_SIZE_RANK, LEARNING_RATE, LEARNING_RATE_OFFSET, Encoding
from tuning.trial import Status, Trial

TRIAL = "trial"
"""The user attribute of an Optuna trial in memory that holds the `Trial` that it stands for."""

_VALUED = (Status.COMPLETED, Status.PRUNED, Status.DIVERGED, Status.FAILED)


@dataclass(frozen=True)
class Experience:
    """Trials by what they teach.

    Args:
        points: (n, axes) of trials with a value.
        values: (n,) larger is better; NaN where training was stopped or broke, or its score is no finite number.
        rungs: (n, rungs) likewise at the shares of the budget at which halving stops trials; NaN where a trial did not
            come to a rung, or was broken.
        stopped: (n,) whether halving stopped a trial, at the last rung that it came to.
        settings: The n settings.
        pending: (m, axes) of trials that run.
        failed: (f, axes) of trials that ran out of memory.
        worked: (w, axes) of trials that completed.
        timed: (t, axes) of completed trials whose training was timed.
        seconds: (t,) their training seconds.
    """

    points: Array
    values: Array
    rungs: Array
    stopped: Mask
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
        coordinates: The coordinates of the study's trials.
        objective: The metric that decides.
    """

    def __init__(self, coordinates: Coordinates, *, objective: Objective) -> None:
        self._coordinates = coordinates
        self._name, self._sign = objective.name, float(objective.sign)
        self._ended: dict[int, _Entry] = {}

    def read(self, study: optuna.Study) -> Experience:
        """What the study's trials teach now."""
        found = [entry for trial in study.get_trials(deepcopy=False) if (entry := self._entry(trial)) is not None]
        valued = [entry for entry in found if entry.record.status in _VALUED]
        timed = [entry for entry in found if entry.seconds is not None]
        return Experience(
            points=self._points(valued),
            values=np.array([entry.value for entry in valued]),
            rungs=np.array([entry.rungs for entry in valued]).reshape(-1, len(RUNGS)),
            stopped=np.array([entry.was_stopped for entry in valued], dtype=bool),
            settings=tuple(entry.record.setting for entry in valued),
            pending=self._points(entry for entry in found if entry.record.status is None),
            failed=self._points(entry for entry in found if entry.record.status is Status.OUT_OF_MEMORY),
            worked=self._points(entry for entry in found if entry.record.status is Status.COMPLETED),
            timed=self._points(timed),
            seconds=np.array([entry.seconds for entry in timed]),
        )

    def _points(self, entries: Iterable[_Entry]) -> Array:
        return np.array([entry.point for entry in entries]).reshape(-1, len(self._coordinates.space.axes))

    def _entry(self, trial: FrozenTrial) -> _Entry | None:
        if trial.number in self._ended:
            return self._ended[trial.number]
        record: Trial | None = trial.user_attrs.get(TRIAL)
        if record is None:
            return None
        value = record.score if record.scored and record.score is not None else np.nan
        entry = _Entry(record, self._coordinates.point(trial.params), self._sign * value, self._at_rungs(record))
        if record.outcome is not None:
            self._ended[trial.number] = entry
        return entry

    def _at_rungs(self, record: Trial) -> tuple[float, ...]:
        """Return the scores at the first evaluations not before each rung; a trial that broke tells nothing by them."""
        if record.status is not Status.PRUNED and not record.scored:
            return (np.nan,) * len(RUNGS)
        scores = [(each.epoch, self._sign * each.metrics.get(self._name, np.nan)) for each in record.reports]
        ends = [share * record.budget.epochs for share in RUNGS]
        return tuple(next((y for epoch, y in scores if epoch >= end and np.isfinite(y)), np.nan) for end in ends)


class _Entry(NamedTuple):
    """A trial as an experience has it."""

    record: Trial
    point: Array
    value: float
    rungs: tuple[float, ...]

    @property
    def was_stopped(self) -> bool:
        """Whether it was stopped where others went on."""
        return self.record.status is Status.PRUNED and any(np.isfinite(self.rungs))

    @property
    def seconds(self) -> float | None:
        """Its training seconds, if it completed and was timed."""
        seconds = self.record.outcome.seconds if self.record.outcome else None
        return seconds if self.record.status is Status.COMPLETED and seconds and seconds > 0.0 else None


_MOST_LEVELS = 256
_DIGITS = 10  # so that a value becomes a share of its axis and the same value again


class Coordinates:
    """The axes of an encoding's dimensions.

    Batch sizes lie at their logarithms, numbers at theirs where their distribution is logarithmic; explicit choices
    that are numbers lie evenly in their order; all others have none. A learning rate that is chosen from a list is
    measured from the rule's ridge, as a searched one is already in the encoding.

    Args:
        encoding: The encoding of the space that is searched.
    """

    def __init__(self, encoding: Encoding) -> None:
        self._dimensions = encoding.dimensions()
        self._levels = [_levels(dimension.distribution) for dimension in self._dimensions]
        self._sizes = np.array(encoding.batch_sizes, dtype=float)
        names = [dimension.name for dimension in self._dimensions]
        axes = [self._axis(index) for index in range(len(names))]
        self.batch_axis = names.index(BATCH_SIZE_RANK)
        rates = [index for index, name in enumerate(names) if name in (LEARNING_RATE, LEARNING_RATE_OFFSET)]
        self._rate_axis = rates[0] if rates else None
        self.space = Space(axes, self._ridge(encoding.rate_exponent))

    def point(self, params: Mapping[str, Any]) -> Array:
        """(axes,) the point of a trial's values."""
        point = np.full(len(self._dimensions), np.nan)
        for index, (dimension, levels) in enumerate(zip(self._dimensions, self._levels, strict=True)):
            if dimension.name in params:
                value = params[dimension.name]
                if levels is None:
                    point[index] = _share(dimension.distribution, value)
                elif value in levels:
                    point[index] = levels.index(value)
        return np.asarray(self.space.activate(point[None, :])[0])

    def params(self, point: Array) -> dict[str, Any]:
        """Optuna's values of a point, without those of the axes that it does not have."""
        found: dict[str, Any] = {}
        for value, dimension, levels in zip(point, self._dimensions, self._levels, strict=True):
            if not math.isnan(value):
                chosen = _at_share(dimension.distribution, value) if levels is None else levels[int(value)]
                found[dimension.name] = chosen
        return found

    def batch_sizes(self, points: Array) -> Array:
        """(n,) the batch sizes of (n, axes) points."""
        return np.asarray(self._sizes[points[:, self.batch_axis].astype(int)])

    def nearest_size(self, batch_size: float) -> int:
        """The level of the space's batch size with the least ratio to this one."""
        return int(np.abs(np.log(self._sizes / batch_size)).argmin())

    def features_of_cost(self, points: Array) -> Array:
        """(n, columns) what may change a trial's seconds beside the batch size."""
        return self.space.features(points)[:, self.space.groups != self.batch_axis]

    def features_of_model(self, points: Array) -> Array:
        """(n, columns) what may change a trial's memory beside the batch size: the model's own hyperparameters."""
        not_of_model = [axis for axis in (self.batch_axis, self._rate_axis) if axis is not None]
        return self.space.features(points)[:, ~np.isin(self.space.groups, not_of_model)]

    def _axis(self, index: int) -> Axis:
        dimension, levels = self._dimensions[index], self._levels[index]
        conditions = tuple(self._condition(name, values) for name, values in dimension.conditions)
        if levels is None:
            return Axis(conditions=conditions)
        if dimension.name == BATCH_SIZE_RANK:
            return Axis(_logarithmic(self._sizes.tolist()), conditions=conditions)
        if dimension.name == LEARNING_RATE or getattr(dimension.distribution, "log", False):
            return Axis(_logarithmic(levels), conditions=conditions)
        even = tuple(np.linspace(0.0, 1.0, len(levels)).tolist())
        return Axis(even, dimension.is_ordered, conditions)

    def _ridge(self, exponent: float) -> Shear | None:
        """Along which good learning rates lie, if they are chosen from a list."""
        rates = None if self._rate_axis is None else self._levels[self._rate_axis]
        if rates is None or len(rates) < 2 or len(self._sizes) < 2:
            return None
        assert self._rate_axis is not None
        rise = exponent * math.log(self._sizes[-1] / self._sizes[0]) / math.log(rates[-1] / rates[0])
        return Shear(self._rate_axis, along=self.batch_axis, slope=rise)

    def _condition(self, name: str, values: Sequence[Any]) -> Condition:
        index = next(i for i, dimension in enumerate(self._dimensions) if dimension.name == name)
        levels = self._levels[index] or []
        return Condition(index, tuple(levels.index(value) for value in values if value in levels))


def _levels(distribution: BaseDistribution) -> list[Any] | None:
    """The values of a distribution in their order; None where they are continuous or nearly so."""
    if isinstance(distribution, CategoricalDistribution):
        values = list(distribution.choices)
        are_numbers = all(isinstance(value, int | float) for value in values)
        return sorted(values) if are_numbers else values
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    if distribution.step is None or (distribution.high - distribution.low) / distribution.step >= _MOST_LEVELS:
        return None
    count = round((distribution.high - distribution.low) / distribution.step) + 1
    return [distribution.low + index * distribution.step for index in range(count)]


def _logarithmic(values: Sequence[float]) -> tuple[float, ...]:
    logs = np.log(values)
    return tuple(((logs - logs[0]) / (logs[-1] - logs[0] or 1.0)).tolist())


def _share(distribution: BaseDistribution, value: float) -> float:
    """Where a value lies between the ends of its distribution, from 0 to 1."""
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    low, high = distribution.low, distribution.high
    if distribution.log:
        return math.log(value / low) / math.log(high / low)
    return (value - low) / (high - low)


def _at_share(distribution: BaseDistribution, share: float) -> float:
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    low, high = distribution.low, distribution.high
    value = low * (high / low) ** share if distribution.log else low + share * (high - low)
    if distribution.step is not None:
        value = low + round((value - low) / distribution.step) * distribution.step
    value = min(high, max(low, value))
    return round(value) if isinstance(distribution, IntDistribution) else float(f"{value:.{_DIGITS}g}")
