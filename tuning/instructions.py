"""Instructions: what a trial is told to do; its budget, the goal at which it may end, and how a worker is to train it.

Like the trial that they are part of, they are frozen, small and picklable, and import nothing of TensorFlow.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from search_spaces.scaling import Scaling
from tuning.objective import Objective


@dataclass(frozen=True)
class Goal:
    """A score at which a training may end before its budget is spent.

    Args:
        objective: The metric and its direction.
        value: The score to reach.
        least_epochs: The training takes at least so many epochs, whatever it reaches.
    """

    objective: Objective
    value: float
    least_epochs: int = 1

    def is_reached(self, metrics: Mapping[str, float]) -> bool:
        """Return whether an epoch's metrics reach the score; a metric that is missing or NaN does not."""
        return self.objective.reaches(metrics.get(self.objective.name, math.nan), self.value)


@dataclass(frozen=True)
class Budget:
    """How long a trial may train.

    Args:
        epochs: Passes over the training set at most, so `epochs * n_train` examples at any batch size.
        goal: A score at which it may end sooner; None to train for all epochs.

    Raises:
        ValueError: If there is not at least one epoch.
    """

    epochs: int = 1
    goal: Goal | None = None

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise ValueError(f"epochs must be at least 1; got {self.epochs}.")


@dataclass(frozen=True)
class Instructions:
    """How a worker is to train a trial: the part that no plan decides and no answer judges.

    Args:
        loop: "auto", or the name of a loop (`tuning.loops.loop.LOOPS`).
        evaluation_batch_size: Examples per validation step, the same for every trial of a study.
        keep_weights: Whether the final weights are to be kept; the engine that runs the trial knows where.
        keep_state: Whether all that a longer training needs to go on is to be kept beside them.
        continues: The trial whose kept state this one begins with, after the epochs that it has reports of; empty for a
            training from the beginning.
        micro_batch_size: Examples per gradient where a batch is too large for memory; divides the batch size, whose
            gradient is the mean of its micro-batches' gradients. None for whole batches.
        scaling: What follows the batch size beside the learning rate; by default nothing.
        threads: CPU threads that train it; None for those of any worker. Ignored on a GPU and in-process.
        trainings: How many trainings of this batch size the search plans; what "auto" chooses now serves them all.

    Raises:
        ValueError: If a number is below 1.
    """

    loop: str = "auto"
    evaluation_batch_size: int = 256
    keep_weights: bool = False
    keep_state: bool = False
    continues: str = ""
    micro_batch_size: int | None = None
    scaling: Scaling = field(default_factory=Scaling)
    threads: int | None = None
    trainings: int = 1

    def __post_init__(self) -> None:
        for name in ("evaluation_batch_size", "micro_batch_size", "threads", "trainings"):
            number = getattr(self, name)
            if number is not None and number < 1:
                raise ValueError(f"{name} must be at least 1; got {number}.")
