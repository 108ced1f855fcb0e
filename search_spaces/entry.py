"""Entry: a hyperparameter that the build function declares, as plain values that need no KerasTuner."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Value = int | float | str | bool | None

INT, FLOAT = "Int", "Float"
"""The kinds of entries that have bounds."""


@dataclass(frozen=True)
class Condition:
    """What must hold for an entry to exist: another one has one of some values.

    Args:
        name: The other entry.
        values: Its values that will do.
    """

    name: str
    values: tuple[Value, ...]

    def is_active(self, chosen: Mapping[str, Value]) -> bool:
        """Return whether it holds for the values chosen so far."""
        return self.name in chosen and chosen[self.name] in self.values


@dataclass(frozen=True)
class Entry:
    """One hyperparameter. Entries of one name exist under different conditions.

    Args:
        name: What the build function calls it.
        kind: The name of its class in KerasTuner: "Int", "Float", "Choice", "Boolean" or "Fixed".
        values: The values that a grid tries, at least one, ascending for an Int or a Float.
        default: The value where nothing is searched.
        low: Smallest value of an Int or a Float; None for the others.
        high: Likewise the largest.
        step: Distance of neighbouring values, or their ratio where the sampling is logarithmic; None if there is none.
        sampling: "linear", "log" or "reverse_log" of an Int or a Float; empty for the others.
        is_ordered: Whether its values are numbers or truth values, in the order that these have.
        conditions: All must hold for it to exist.
        config: Its `get_config()` in KerasTuner, from which it can be made again.
    """

    name: str
    kind: str
    values: tuple[Value, ...]
    default: Value = None
    low: Any = None
    high: Any = None
    step: Any = None
    sampling: str = ""
    is_ordered: bool = True
    conditions: tuple[Condition, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def is_active(self, chosen: Mapping[str, Value]) -> bool:
        """Return whether every condition holds for the values chosen so far."""
        return all(condition.is_active(chosen) for condition in self.conditions)


def entries_of(declared: Iterable[Any]) -> tuple[Entry, ...]:
    """Return the entries of `keras_tuner` hyperparameters, in their order, which puts parents before children.

    Args:
        declared: Such as the `space` of a `keras_tuner.HyperParameters`.
    """
    return tuple(_entry_of(each) for each in declared)


def _entry_of(declared: Any) -> Entry:
    kind, values = type(declared).__name__, _values_of(declared)
    is_number = all(isinstance(value, int | float) for value in values)
    return Entry(
        declared.name,
        kind,
        values,
        declared.default,
        low=getattr(declared, "min_value", None),
        high=getattr(declared, "max_value", None),
        step=getattr(declared, "step", None),
        sampling=getattr(declared, "sampling", ""),
        is_ordered=is_number and getattr(declared, "ordered", True),
        conditions=tuple(Condition(each.name, tuple(each.values)) for each in declared.conditions),
        config=declared.get_config(),
    )


def _values_of(declared: Any) -> tuple[Value, ...]:
    """Return the values, ascending where they are numbers between bounds.

    keras-tuner 1.4.8 yields floats for `Int(sampling="log")` and sets in arbitrary order where no step is given.
    """
    values = list(declared.values)
    if type(declared).__name__ == INT:
        return tuple(sorted({round(value) for value in values}))
    if type(declared).__name__ == FLOAT:
        return tuple(sorted(set(values)))
    return tuple(values)
