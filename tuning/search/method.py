"""Method: what tells one kind of search from another; and whose hyperparameters it searches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from search_spaces.batch_size import BatchSize
from search_spaces.entry import Entry
from tuning.machine.machine import Machine
from tuning.messages import ModelDescription
from tuning.plans.plan import Plan
from tuning.search.preparation import Setup


@dataclass(frozen=True)
class Method:
    """What tells one kind of search from another.

    Args:
        kind: Its name, such as "grid".
        make_plan: Returns the plan, from what is known before the first trial.
        prunes: Whether trials that are behind are stopped where nobody says otherwise.
        halves_side_by_side: Whether trials may be stopped where several run on one CPU: its plan has those wait for one
            another that halving compares, or tries what results suggest, so that the order of these matters anyway.
        chooses_threads: Whether batch sizes that train faster with one CPU thread do so where nobody says otherwise.
        default_batch_size: Returns the sizes to try where none were asked for, of a number of training examples.
        varies_model: Whether the model's own hyperparameters are searched, too, or held.
        widens: Whether its plan has to know every batch size and rate that the study has tried; a grid's does not, so
            that it trains those alone that are asked for now.
        settings: What else makes two searches of this kind the same.
    """

    kind: str
    make_plan: Callable[[Setup, Machine], Plan]
    prunes: bool = False
    halves_side_by_side: bool = False
    chooses_threads: bool = True
    default_batch_size: Callable[[int], BatchSize | None] = lambda _: None
    varies_model: bool = True
    widens: bool = True
    settings: Mapping[str, str] = field(default_factory=dict)


class Hyperparameters(Protocol):
    """The hyperparameters of the build function; KerasTuner's oracle keeps them for a tuner."""

    def known(self) -> Mapping[str, Any]:
        """Return those known so far, as a `keras_tuner.HyperParameters.get_config()`; empty for none."""

    def learn(self, model: ModelDescription) -> tuple[Entry, ...]:
        """Take in those of a model, and return those that are searched, parents before children."""


class DeclaredHyperparameters:
    """Every hyperparameter that the build function declares, none of them overridden; needs no KerasTuner."""

    def known(self) -> Mapping[str, Any]:
        """Return none: the worker that builds the model tells them."""
        return {}

    def learn(self, model: ModelDescription) -> tuple[Entry, ...]:
        """Return those of the model."""
        return model.entries
