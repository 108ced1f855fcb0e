"""Wishes: what a search is to try, as the user gave it; light to import, so that it is read before workers start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from search_spaces.batch_size import BatchSize
from search_spaces.learning_rate import LearningRate
from tuning.search.limits import ALLOCATED, check_repeats
from tuning.stats.rules import LEAST_SEEDS
from tuning.stats.trade_offs import split_objectives


@dataclass(frozen=True)
class Wishes:
    """What is to be tried, as the user gave it.

    Args:
        objective: A name, "name:max", a `keras_tuner.Objective`, or None.
        further_objectives: Further measures for the Pareto set.
        batch_size: Sizes to try; None for the method's, or powers of 2 that suit the data.
        learning_rate: How the rate follows; None for the model's own by the optimizer's rule.
        seeds: Trainings per setting.
        allocates_seeds: Whether batch sizes that are worth it get more than these.

    Raises:
        ValueError: If there are no seeds, or too many.
    """

    objective: Any = None
    further_objectives: tuple[str, ...] = ()
    batch_size: BatchSize | None = None
    learning_rate: LearningRate | None = None
    seeds: int = 3
    allocates_seeds: bool = False

    def __post_init__(self) -> None:
        check_repeats("seeds", self.seeds)

    @classmethod
    def read(
        cls, objective: Any, batch_size: BatchSize | None, learning_rate: LearningRate | None, seeds: int | str
    ) -> Wishes:
        """Return the wishes; of a list of objectives, or of names with commas between them, the first decides.

        Seeds of "auto" are two, with more for the batch sizes that are worth them.

        Raises:
            ValueError: If a further objective is unknown, or the seeds as above.
        """
        asked, further = split_objectives(objective)
        allocates = seeds == ALLOCATED
        number: Any = LEAST_SEEDS if allocates else seeds  # checked at construction
        return cls(asked, further, batch_size, learning_rate, number, allocates)
