"""Scaling: what follows the batch size beside the learning rate, and from which batch size on."""

from __future__ import annotations

import math
from dataclasses import dataclass

from search_spaces.learning_rate import KERAS_BATCH_SIZE

OFF, TRAINING = "off", "training"
"""Words that stand for a schedule's batch size: leave its counts of updates alone; it spans the whole training."""


@dataclass(frozen=True)
class Scaling:
    """How the constants of a model that count updates follow the batch size `B`, so that they count examples.

        counts of a schedule    count * schedule_at / B
        weight decay            decay * (B / at_batch_size) * (reference_rate / rate)
        beta_2, rho, averages   constant ** (B / at_batch_size)

    Weight decay shrinks weights by `rate * decay` in every update, so that the second line holds what it does in one
    epoch. What counts nothing stays: beta_1 and momentum, which are what helps at large batch sizes.

    Args:
        at_batch_size: The batch size for which the model's constants are right.
        reference_rate: The learning rate that is right there; None if there is none.
        schedule_at: The batch size whose updates the model's schedule counts, perhaps fractional; None leaves it alone.
        weight_decay: Whether weight decay follows.
        decay_constants: Whether the second moment's decay and the averages of weights follow.

    Raises:
        ValueError: If a number is not positive.

    Source: Bergsma et al., Power Lines (2025, arXiv 2505.13738), for weight decay; Marek et al., Small Batch Size
        Training for Language Models (2025), for beta_2; Busbridge et al., How to Scale Your EMA (2023), for averages.

    >>> Scaling(32, reference_rate=0.001).decay_factor(128, 0.002)
    2.0
    """

    at_batch_size: int = KERAS_BATCH_SIZE
    reference_rate: float | None = None
    schedule_at: float | None = None
    weight_decay: bool = False
    decay_constants: bool = False

    def __post_init__(self) -> None:
        for name in ("at_batch_size", "reference_rate", "schedule_at"):
            number = getattr(self, name)
            if number is not None and not number > 0:
                raise ValueError(f"{name} must be positive; got {number}.")

    def rate_factor(self, learning_rate: float | None) -> float:
        """Return a trial's learning rate relative to the one that is right at the reference; 1 if either is unknown."""
        if learning_rate is None or self.reference_rate is None:
            return 1.0
        return learning_rate / self.reference_rate

    def decay_factor(self, batch_size: int, learning_rate: float | None) -> float:
        """Return what weight decay is multiplied by, so that an epoch shrinks weights alike at every batch size."""
        return batch_size / self.at_batch_size / self.rate_factor(learning_rate)


@dataclass(frozen=True)
class Follower:
    """Something that counts updates, and whether it follows the batch size.

    Args:
        name: What it is.
        rule: How it follows.
        default: Whether it does where nobody says otherwise.
        why: Why that is the default.
    """

    name: str
    rule: str
    default: str
    why: str


FOLLOWERS = (
    Follower(
        "learning rate",
        "times (B/32)^1/2, or times B/32 for SGD",
        "yes",
        "comparing batch sizes at one rate measures the rate",
    ),
    Follower(
        "schedule",
        "rates as the learning rate, counts of updates times 32/B",
        "yes, those of Keras",
        "its course is then one curve of examples at every batch size",
    ),
    Follower(
        "rates that callbacks set",
        "those of LearningRateScheduler, and the least one of ReduceLROnPlateau, as the learning rate",
        "yes",
        "they would put one rate for all in the place of each trial's",
    ),
    Follower(
        "weight decay",
        "times B/32, divided by the factor of the learning rate",
        "yes",
        "an epoch then shrinks weights alike, and the best rate stays where its rule puts it",
    ),
    Follower(
        "beta_2, rho, averages of weights",
        "to the power B/32",
        "no",
        "their half-lives would be constant in examples; on small models it made no difference",
    ),
    Follower("beta_1, momentum", "stay", "no", "they are what helps at large batch sizes"),
    Follower(
        "epochs, patience, rungs",
        "counted in epochs",
        "yes",
        "an epoch is the same number of examples at every batch size",
    ),
)
"""Everything in a training that could follow the batch size, for the documents and for the answer."""


def schedule_batch_size(asked: int | str | None, *, at: int, updates: float | None, examples: int) -> float | None:
    """Return the batch size whose updates a schedule counts; None to leave it alone.

    Args:
        asked: A batch size, "off", "training", or None for the one for which the learning rate is right.
        at: That one.
        updates: How many updates the schedule lasts; None if it has no end.
        examples: All examples of one training.

    Raises:
        ValueError: If it is to span the training, but has no end.

    >>> schedule_batch_size("training", at=32, updates=250.0, examples=10_000)
    40.0
    """
    if asked == OFF:
        return None
    if asked == TRAINING:
        if updates is None or not math.isfinite(updates):
            raise ValueError(
                f"Only a schedule that ends can span the training; got schedule_batch_size={TRAINING!r} for one that "
                "has no end. Say which batch size its counts of updates belong to."
            )
        return examples / updates
    return float(at if asked is None else asked)


def check_schedule_batch_size(asked: int | str | None) -> None:
    """Raise ValueError if this is neither a batch size nor one of the two words."""
    if asked is None or asked in (OFF, TRAINING):
        return
    if isinstance(asked, bool) or not isinstance(asked, int) or asked < 1:
        raise ValueError(f"schedule_batch_size must be a batch size, {OFF!r} or {TRAINING!r}; got {asked!r}.")
