"""Behaviour: how trainings went at each batch size, beside what they scored: stability, generalisation, their ends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from tuning.objective import Objective
from tuning.stats.arms import Arm
from tuning.stats.curves import Course, CurveFacts, course_of, curve_facts, val_loss_at
from tuning.stats.diagnoses import Diagnosis, diagnose_size
from tuning.trial import Status


@dataclass(frozen=True)
class SizeBehaviour:
    """How trainings went at one batch size: medians over the completed ones that judge it; None where unknown.

    Args:
        batch_size: The batch size.
        trainings: How many logged their course.
        diverged: How many of those that judge it diverged.
        update_noise: Variability of the training loss between epochs, as a share of it.
        loss_spikes: Epochs in which the training loss jumped, in all trainings together.
        generalisation_gap: Validation minus training loss at the end.
        gap_at_equal_loss: The same when the training loss first was `Behaviour.equal_loss`.
        best_epoch: The epoch of the best score.
        gain_at_end: The change of the score in the last part of the training, larger being better.
        diagnoses: What more than half of the trainings show.
    """

    batch_size: int
    trainings: int
    diverged: int
    update_noise: float | None
    loss_spikes: int | None
    generalisation_gap: float | None
    gap_at_equal_loss: float | None
    best_epoch: float | None
    gain_at_end: float | None
    diagnoses: tuple[Diagnosis, ...]


@dataclass(frozen=True)
class Behaviour:
    """How trainings went, by batch size.

    Args:
        sizes: Those with a training that logged its course, or diverged, ascending.
        equal_loss: The training loss at which `gap_at_equal_loss` was taken; None if there is no common one.
        observations: What matters of it for the answer, most important first; whole sentences.
    """

    sizes: tuple[SizeBehaviour, ...] = ()
    equal_loss: float | None = None
    observations: tuple[str, ...] = ()


@dataclass(frozen=True)
class Trained:
    """The completed trainings that judge one batch size, by seed.

    Args:
        arm: The batch size.
        courses: How each went.
        facts: What each course shows.
    """

    arm: Arm
    courses: Mapping[int, Course]
    facts: Mapping[int, CurveFacts]

    @property
    def diverged(self) -> int:
        """How many of the trainings that judge it diverged."""
        return sum(trial.judged_status is Status.DIVERGED for trial in self.arm.trials)

    def median_of(self, name: str) -> float | None:
        """Return the median of one of the facts; None if no training knows it."""
        return median_of(getattr(facts, name) for facts in self.facts.values())

    def at_equal_loss(self, level: float | None) -> dict[int, float]:
        """Return the validation loss of each seed when its training loss first was so; seeds that miss it left out."""
        if level is None:
            return {}
        found = {seed: val_loss_at(course, level) for seed, course in self.courses.items()}
        return {seed: value for seed, value in found.items() if value is not None}


def trained(arms: Sequence[Arm], objective: Objective) -> dict[int, Trained]:
    """Return the batch sizes with a training that logged its course, or diverged, ascending.

    Args:
        arms: Every batch size.
        objective: The metric that decides.
    """
    found = {}
    for arm in arms:
        each = {trial.seed: course_of(trial, objective) for trial in arm.trials if trial.scored}
        courses = {seed: course for seed, course in sorted(each.items()) if course.loss or course.gains}
        made = Trained(arm, courses, {seed: curve_facts(course) for seed, course in courses.items()})
        if courses or made.diverged:
            found[arm.batch_size] = made
    return found


def size_behaviours(
    sizes: Mapping[int, Trained], objective: Objective, equal_loss: float | None
) -> tuple[SizeBehaviour, ...]:
    """Return how trainings went at each batch size.

    Args:
        sizes: From `trained`.
        objective: The metric that decides.
        equal_loss: From `equal_training_loss`.
    """
    noises = {size: made.median_of("update_noise") for size, made in sizes.items()}
    return tuple(
        _size_behaviour(
            made, objective, equal_loss, median_of(noise for other, noise in noises.items() if other != size)
        )
        for size, made in sizes.items()
    )


def _size_behaviour(
    made: Trained, objective: Objective, equal_loss: float | None, noise_of_others: float | None
) -> SizeBehaviour:
    facts = list(made.facts.values())
    at_equal = median_of(made.at_equal_loss(equal_loss).values())
    spikes = [len(each.spikes) for each in facts if each.spikes is not None]
    return SizeBehaviour(
        batch_size=made.arm.batch_size,
        trainings=len(facts),
        diverged=made.diverged,
        update_noise=made.median_of("update_noise"),
        loss_spikes=sum(spikes) if spikes else None,
        generalisation_gap=made.median_of("generalisation_gap"),
        gap_at_equal_loss=None if at_equal is None or equal_loss is None else at_equal - equal_loss,
        best_epoch=made.median_of("best_epoch"),
        gain_at_end=median_of(each.gain.change for each in facts if each.gain is not None),
        diagnoses=diagnose_size(facts, objective.name, noise_of_others=noise_of_others),
    )


def equal_training_loss(sizes: Mapping[int, Trained]) -> float | None:
    """Return a training loss that as many batch sizes as possible passed with every seed, after their first epoch.

    Of several such losses the least is taken: the further a training is, the more a gap says. Candidates are the losses
    that all seeds of a batch size reached.

    Args:
        sizes: From `trained`.

    Returns:
        None if fewer than two batch sizes share one.
    """
    levels = [max(min(c.loss) for c in made.courses.values()) for made in sizes.values() if _logs_both(made)]

    def passed(level: float) -> int:
        return sum(len(made.at_equal_loss(level)) == len(made.courses) > 0 for made in sizes.values())

    best = max(levels, key=lambda level: (passed(level), -level), default=None)
    return best if best is not None and passed(best) >= 2 else None


def _logs_both(made: Trained) -> bool:
    return bool(made.courses) and all(course.loss and course.val_loss for course in made.courses.values())


def median_of(values: Iterable[float | None]) -> float | None:
    """Return the median of what is known; None if nothing is."""
    known = [value for value in values if value is not None]
    return float(median(known)) if known else None
