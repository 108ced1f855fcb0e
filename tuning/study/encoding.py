"""Encoding: a search space as Optuna sees it, settings there and back, and a trial as JSON.

Batch sizes become ranks on their ordinal axis, and a searched learning rate becomes `log10(rate / centre)` around the
rule's rate for its batch size, so that the ridge of good rates runs parallel to the axes.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from search_spaces.entry import FLOAT, INT, Entry, Value
from search_spaces.space import RESERVED_NAMES, SearchSpace, Setting, as_pairs
from tuning.instructions import Budget, Goal
from tuning.objective import Objective
from tuning.trial import EpochReport, Status, Trial, TrialOutcome

BATCH_SIZE_RANK = "batch_size_rank"
LEARNING_RATE_OFFSET = "learning_rate_offset"
LEARNING_RATE = "learning_rate"
_LISTABLE = 10_000
_DECADES = 1.0  # a searched rate lies within a factor of 10 of the rule's


@dataclass(frozen=True)
class Dimension:
    """One dimension as Optuna knows it.

    Args:
        name: Optuna's.
        distribution: Of its values.
        is_ordered: Whether neighbouring values are alike.
        conditions: It exists where each of these other dimensions has one of these values.
    """

    name: str
    distribution: BaseDistribution
    is_ordered: bool = True
    conditions: tuple[tuple[str, tuple[Value, ...]], ...] = ()


class Encoding:
    """Names, distributions and values of a space's dimensions.

    Args:
        space: What may be tried.
        search_rates: Let a learning rate that has no explicit choices leave the rule's centre.
    """

    def __init__(self, space: SearchSpace, *, search_rates: bool) -> None:
        self._space = space
        self._sizes = space.batch_size.values()
        self._search_rates = search_rates
        self._entries = [entry for entry in space.entries if entry.name not in RESERVED_NAMES]

    @property
    def has_conditions(self) -> bool:
        """Whether some hyperparameters exist only for some values of others."""
        return any(entry.conditions for entry in self._entries)

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """The sizes by rank."""
        return self._sizes

    @property
    def rate_exponent(self) -> float:
        """The power of the batch size with which good learning rates are taken to grow."""
        return 1.0 if self._space.optimizer == "SGD" else 0.5

    def dimensions(self) -> tuple[Dimension, ...]:
        """Every dimension, parents before children; those of one name exist under different conditions."""
        core = tuple(Dimension(name, distribution) for name, distribution in self._core().items())
        own = (self._dimension(entry) for entry in self._entries)
        return core + tuple(dimension for dimension in own if dimension is not None)

    def unconditional(self) -> dict[str, BaseDistribution]:
        """The dimensions that every setting has."""
        return self._core() | {
            entry.name: distribution
            for entry in self._entries
            if not entry.conditions and (distribution := distribution_of(entry)) is not None
        }

    def conditional(self, params: Mapping[str, Any]) -> dict[str, BaseDistribution]:
        """Further dimensions of a setting whose other values are `params`, for the first level not yet chosen."""
        chosen = self._with_constants(params)
        return {
            entry.name: distribution
            for entry in self._entries
            if entry.conditions
            and entry.name not in chosen
            and entry.is_active(chosen)
            and (distribution := distribution_of(entry)) is not None
        }

    def settings(self) -> list[Setting] | None:
        """Every setting, if they are few enough to list: nothing continuous, nothing conditional."""
        space = self.unconditional()
        values = [_values(distribution) for distribution in space.values()]
        if self.has_conditions or any(some is None for some in values):
            return None
        listed = [some for some in values if some is not None]
        if math.prod(len(some) for some in listed) > _LISTABLE:
            return None
        return [self.decode(dict(zip(space, chosen, strict=True))) for chosen in itertools.product(*listed)]

    def decode(self, params: Mapping[str, Any]) -> Setting:
        """The setting that Optuna's values stand for."""
        size = self._sizes[params[BATCH_SIZE_RANK]]
        values = self._with_constants(params)
        values = {name: value for name, value in values.items() if name not in self._core()}
        return Setting(size, self._decode_rate(size, params), as_pairs(values))

    def encode(self, setting: Setting) -> tuple[dict[str, Any], dict[str, BaseDistribution]]:
        """Optuna's values and distributions of a setting."""
        params: dict[str, Any] = {BATCH_SIZE_RANK: self._sizes.index(setting.batch_size)}
        core = self._core()
        if LEARNING_RATE in core:
            params[LEARNING_RATE] = setting.learning_rate
        elif LEARNING_RATE_OFFSET in core and setting.learning_rate is not None:
            offset = math.log10(setting.learning_rate / self._centre(setting.batch_size))
            params[LEARNING_RATE_OFFSET] = min(_DECADES, max(-_DECADES, offset))
        distributions = {name: core[name] for name in params}
        chosen = dict(setting.hyperparameters)
        for name, value in chosen.items():
            entry = next(entry for entry in self._entries if entry.name == name and entry.is_active(chosen))
            if (distribution := distribution_of(entry)) is not None:
                params[name], distributions[name] = value, distribution
        return params, distributions

    def _dimension(self, entry: Entry) -> Dimension | None:
        """None for an entry with a single value, or one whose conditions on such entries never hold."""
        distribution = distribution_of(entry)
        varied = {other.name for other in self._entries if distribution_of(other) is not None}
        settled = [condition for condition in entry.conditions if condition.name not in varied]
        if distribution is None or not all(condition.is_active(self._constants()) for condition in settled):
            return None
        conditions = tuple((c.name, c.values) for c in entry.conditions if c.name in varied)
        return Dimension(entry.name, distribution, entry.is_ordered, conditions)

    def _constants(self) -> dict[str, Any]:
        return {entry.name: entry.default for entry in self._entries if distribution_of(entry) is None}

    def _core(self) -> dict[str, BaseDistribution]:
        core: dict[str, BaseDistribution] = {BATCH_SIZE_RANK: IntDistribution(0, len(self._sizes) - 1)}
        rate = self._space.learning_rate
        if rate is not None and rate.values:
            core[LEARNING_RATE] = CategoricalDistribution(rate.values)
        elif rate is not None and self._search_rates:
            core[LEARNING_RATE_OFFSET] = FloatDistribution(-_DECADES, _DECADES)
        return core

    def _decode_rate(self, size: int, params: Mapping[str, Any]) -> float | None:
        if self._space.learning_rate is None:
            return None
        if LEARNING_RATE in params:
            return float(params[LEARNING_RATE])
        return float(self._centre(size) * 10 ** params.get(LEARNING_RATE_OFFSET, 0.0))

    def _centre(self, size: int) -> float:
        assert self._space.learning_rate is not None
        return self._space.learning_rate.centre(
            size, optimizer=self._space.optimizer, model_rate=self._space.model_rate
        )

    def _with_constants(self, params: Mapping[str, Any]) -> dict[str, Any]:
        chosen = dict(params)
        for entry in self._entries:
            if entry.name not in chosen and entry.is_active(chosen) and distribution_of(entry) is None:
                chosen[entry.name] = entry.default
        return chosen


def distribution_of(entry: Entry) -> BaseDistribution | None:
    """Optuna's distribution for a hyperparameter; None for one with a single value."""
    if len(entry.values) == 1:
        return None
    if entry.kind in (INT, FLOAT) and entry.sampling in ("linear", "log"):
        logarithmic = entry.sampling == "log"
        if not (logarithmic and entry.step is not None):
            return _numeric(entry, logarithmic)
    return CategoricalDistribution(entry.values)


def _numeric(entry: Entry, logarithmic: bool) -> BaseDistribution:
    if entry.kind == FLOAT:
        return FloatDistribution(entry.low, entry.high, log=logarithmic, step=entry.step)
    step = entry.step or 1
    high = entry.low + (entry.high - entry.low) // step * step
    return IntDistribution(entry.low, high, log=logarithmic, step=1 if logarithmic else step)


def _values(distribution: BaseDistribution) -> Sequence[Any] | None:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    if isinstance(distribution, IntDistribution):
        return range(distribution.low, distribution.high + 1, distribution.step)
    return None


OPENING, CLOSING = "trial", "result"
"""User attributes of an Optuna trial. One write each: a write to a journal costs about a millisecond."""


def opening_of(trial: Trial) -> dict[str, Any]:
    """Return what is written of a trial before it starts."""
    setting = {**dataclasses.asdict(trial.setting), "hyperparameters": dict(trial.hyperparameters)}
    return {
        "trial_id": trial.trial_id,
        "setting": setting,
        "seed": trial.seed,
        "stage": trial.stage,
        "budget": dataclasses.asdict(trial.budget),
    }


def closing_of(trial: Trial) -> dict[str, Any]:
    """Return what is added when it has ended; numbers that JSON does not know travel as words."""
    assert trial.outcome is not None
    return {
        "outcome": _plain(dataclasses.asdict(trial.outcome)),
        "epochs": [_plain(dataclasses.asdict(report)) for report in trial.reports],
        "score": _plain(trial.score),
    }


def read_trial(attributes: Mapping[str, Any], *, has_ended: bool) -> Trial | None:
    """Return the trial that an Optuna trial's user attributes hold; None where they hold none.

    Args:
        attributes: The user attributes.
        has_ended: Whether Optuna says that it has; without an outcome the driver then died before the trial did.
    """
    opened, closed = attributes.get(OPENING), attributes.get(CLOSING, {})
    if opened is None:
        return None
    outcome = _read_outcome(closed)
    if outcome is None and has_ended:
        outcome = TrialOutcome(opened["trial_id"], Status.INTERRUPTED, reason="the driver ended before the trial")
    setting = opened["setting"]
    return Trial(
        Setting(setting["batch_size"], setting["learning_rate"], as_pairs(setting["hyperparameters"])),
        opened["seed"],
        opened["stage"],
        _read_budget(opened["budget"]),
        opened["trial_id"],
        reports=tuple(EpochReport(**_numbers(report)) for report in closed.get("epochs", ())),
        outcome=outcome,
        score=_numbers(closed.get("score")),
    )


def _read_budget(values: Mapping[str, Any]) -> Budget:
    goal = values["goal"]
    if goal is None:
        return Budget(values["epochs"])
    return Budget(values["epochs"], Goal(Objective(**goal["objective"]), goal["value"], goal["least_epochs"]))


def _read_outcome(closed: Mapping[str, Any]) -> TrialOutcome | None:
    if not closed:
        return None
    values = _numbers(closed["outcome"])
    return TrialOutcome(**{**values, "status": Status(values["status"])})


def _plain(value: Any) -> Any:
    """JSON knows no NaN and no infinity; they travel as words."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    return value


def _numbers(value: Any) -> Any:
    if isinstance(value, Mapping):
        if value.keys() == {"float"}:
            return float(value["float"])
        return {key: _numbers(inner) for key, inner in value.items()}
    return value
