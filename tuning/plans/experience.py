"""Experience: the trials of a study as the numbers that a proposal is made from."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial

from search_spaces.space import Setting
from tuning.objective import Objective
from tuning.proposals.axes import Array, Axis, Condition, Shear, Space
from tuning.study.encoding import BATCH_SIZE_RANK, LEARNING_RATE, LEARNING_RATE_OFFSET, Encoding
from tuning.trial import Status, Trial

TRIAL = "trial"
"""The user attribute of an Optuna trial in memory that holds the `Trial` that it stands for."""

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
        coordinates: The coordinates of the study's trials.
        objective: The metric that decides.
    """

    def __init__(self, coordinates: Coordinates, *, objective: Objective) -> None:
        self._coordinates = coordinates
        self._objective, self._sign = objective, float(objective.sign)
        self._ended: dict[int, tuple[Trial, Array, float]] = {}

    def read(self, study: optuna.Study) -> Experience:
        """What the study's trials teach now."""
        found = [entry for trial in study.get_trials(deepcopy=False) if (entry := self._entry(trial)) is not None]

        def points(chosen: Callable[[Trial], bool]) -> Array:
            rows = [point for record, point, _ in found if chosen(record)]
            return np.array(rows).reshape(-1, len(self._coordinates.space.axes))

        def is_timed(record: Trial) -> bool:
            seconds = record.outcome.seconds if record.outcome else None
            return record.status is Status.COMPLETED and seconds is not None and seconds > 0.0

        def has_value(record: Trial) -> bool:
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

    def _entry(self, trial: FrozenTrial) -> tuple[Trial, Array, float] | None:
        if trial.number in self._ended:
            return self._ended[trial.number]
        record: Trial | None = trial.user_attrs.get(TRIAL)
        if record is None:
            return None
        value = record.score if record.status is Status.COMPLETED else self._last_value(record)
        has_value = value is not None and np.isfinite(value)
        signed = self._sign * value if value is not None and has_value else np.nan
        entry = record, self._coordinates.point(trial.params), signed
        if record.outcome is not None:
            self._ended[trial.number] = entry
        return entry

    def _last_value(self, record: Trial) -> float | None:
        """Return the last value that a pruned trial reported: it would hardly have ended worse."""
        values = record.curve(self._objective.name)[1] if record.status is Status.PRUNED else ()
        return values[-1] if values else None


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
