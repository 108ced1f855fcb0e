"""SearchSpace: batch size, learning rate and the model's own hyperparameters, as one space."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from search_spaces.batch_size import BatchSize
from search_spaces.entry import Entry, Value
from search_spaces.learning_rate import LearningRate

LEARNING_RATE_NAMES = ("learning_rate", "lr")
"""Names of a hyperparameter by which a build function takes its learning rate."""
RESERVED_NAMES = ("batch_size", *LEARNING_RATE_NAMES)


@dataclass(frozen=True)
class Setting:
    """One point of a search space: what a training needs beside its seed.

    Args:
        batch_size: Examples per update.
        learning_rate: None leaves the model's own, for example a schedule.
        hyperparameters: The model's own, as sorted (name, value) pairs, so that settings hash and compare.
    """

    batch_size: int
    learning_rate: float | None
    hyperparameters: tuple[tuple[str, Value], ...] = ()


@dataclass(frozen=True)
class SearchSpace:
    """Everything that a study may vary.

    Args:
        batch_size: Sizes within the data (`BatchSize.within`).
        learning_rate: How the rate follows the batch size; None leaves the model's schedule alone.
        optimizer: Class name of the model's optimizer, for the "auto" rule.
        model_rate: The model's own learning rate, of a schedule of Keras its highest; None for any other schedule.
        entries: The hyperparameters that the build function declares, parents before children.

    Raises:
        ValueError: If learning rates are to be searched although the model has a schedule.
    """

    batch_size: BatchSize
    learning_rate: LearningRate | None
    optimizer: str = "Adam"
    model_rate: float | None = None
    entries: tuple[Entry, ...] = ()

    def __post_init__(self) -> None:
        if self.learning_rate is not None and self.model_rate is None and self.learning_rate.base is None:
            if self.learning_rate.values:
                return
            raise ValueError("The model has no learning rate of its own; give LearningRate(base=...).")

    @property
    def varied(self) -> tuple[str, ...]:
        """The names of the model's own hyperparameters that have more than one value."""
        own = (entry for entry in self.entries if entry.name not in RESERVED_NAMES)
        return tuple(dict.fromkeys(entry.name for entry in own if len(entry.values) > 1))

    def learning_rates(self, batch_size: int) -> tuple[float | None, ...]:
        """The rates to try at `batch_size`; `(None,)` where the model's own schedule rules."""
        if self.learning_rate is None:
            return (None,)
        return self.learning_rate.at(batch_size, optimizer=self.optimizer, model_rate=self.model_rate)

    def grid(self) -> tuple[Setting, ...]:
        """Every combination, batch sizes ascending and innermost, so that they are compared early."""
        combinations = list(hyperparameter_grid(self.entries))
        sizes = self.batch_size.values()
        rates = {size: self.learning_rates(size) for size in sizes}
        ranks = range(max(len(some) for some in rates.values()))
        return tuple(
            Setting(size, rates[size][rank], as_pairs(values))
            for values, rank, size in itertools.product(combinations, ranks, sizes)
            if rank < len(rates[size])
        )


def resolve_learning_rate(
    asked: LearningRate | None, *, model_rate: float | None, declared: Entry | None
) -> LearningRate | None:
    """The learning-rate dimension in force, from what was asked for and what the model brings.

    Args:
        asked: The caller's wish, or None for the default.
        model_rate: The model's own rate, of a schedule of Keras its highest; None for a schedule that is left alone.
        declared: The build function's own learning-rate hyperparameter, or None.

    Returns:
        The wish; or else the declared hyperparameter's values; or the model's own rate, taken to be right at Keras's
        batch size of 32 and following the rule; None for a schedule, which is left alone.

    Raises:
        ValueError: If a wish meets a schedule.
    """
    if asked is not None and model_rate is None and declared is None:
        raise ValueError(
            "Learning rates cannot be searched: the model is compiled with a learning-rate schedule that is none of "
            "Keras's, or that fits itself to the batch size. Compile it with a number or one of Keras's schedules, or "
            "leave the learning rates out to keep it."
        )
    if asked is not None:
        return asked
    if declared is not None and len(declared.values) > 1:
        return LearningRate.choices(*(float(value) for value in declared.values if value is not None))
    return None if model_rate is None else LearningRate()


def declared_batch_sizes(entries: Iterable[Entry]) -> BatchSize | None:
    """Return the sizes that a build function declares, as `hp.Choice("batch_size", ...)`; None if it declares none."""
    declared = [entry for entry in entries if entry.name == RESERVED_NAMES[0]]
    return BatchSize.of(*(int(size) for size in declared[0].values if size is not None)) if declared else None


def hyperparameter_grid(entries: Iterable[Entry]) -> Iterable[dict[str, Value]]:
    """Every combination of the hyperparameters' values; an entry counts only where its conditions hold."""
    combinations: list[dict[str, Value]] = [{}]
    for entry in entries:
        if entry.name not in RESERVED_NAMES:
            combinations = [extended for chosen in combinations for extended in _extend(chosen, entry)]
    return combinations


def as_pairs(values: Mapping[str, Value]) -> tuple[tuple[str, Value], ...]:
    """Sorted (name, value) pairs, hashable."""
    return tuple(sorted(values.items()))


def _extend(chosen: dict[str, Value], entry: Entry) -> list[dict[str, Value]]:
    if entry.name in chosen or not entry.is_active(chosen):
        return [chosen]
    return [chosen | {entry.name: value} for value in entry.values]
