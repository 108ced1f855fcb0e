"""Diagnoses: what the course of a training says, in plain words, each by a rule that is written here.

The margins are conventions of this project. They are wide, because a diagnosis that is wrong costs more than one that
is missing: what no rule clearly shows has no diagnosis.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median, median_low

from tuning.stats.curves import CurveFacts, Trend

STILL_FALLS = math.log(1.05)
"""The training loss still falls if it fell clearly, and by 5 % or more, in the last part of the training."""

FLAT = 0.05
"""The training loss is flat if it never fell by more than this share of the first epoch's."""

NOISY_ALONE = 0.15
"""The update noise at which one training is called noisy without others to compare with."""

NOISY_AMONG = 0.05
"""The least update noise of a batch size that is called noisy because it is so beside the others."""

NOISIER = 2.0
"""The times by which it must exceed the others'."""


class Kind(StrEnum):
    """What a diagnosis says."""

    IMPROVING = "still improving"
    STALLED = "stalled"
    OVERFITTING = "overfitting"
    SETTLED = "settled"
    FLAT = "flat"
    NOISY = "noisy"
    SPIKES = "loss spikes"


ENDS = (Kind.IMPROVING, Kind.FLAT, Kind.OVERFITTING, Kind.STALLED, Kind.SETTLED)
"""How a training ended: at most one of these; the others are about its stability."""


@dataclass(frozen=True)
class Diagnosis:
    """What one training, or most trainings of a batch size, show.

    Args:
        kind: What it is.
        text: The same in words, without a full stop.
        since: The epoch, from 1, since when; None where it has no beginning.
    """

    kind: Kind
    text: str
    since: int | None = None


def diagnose(facts: CurveFacts, objective: str) -> tuple[Diagnosis, ...]:
    """Return what one training shows: at most one diagnosis of its end, and those of its stability.

    Args:
        facts: What its course shows.
        objective: The name of the score.
    """
    kinds = [kind for kind in (_end(facts), *_stability(facts)) if kind is not None]
    return tuple(Diagnosis(kind, _words(kind, facts, objective), _since(kind, facts)) for kind in kinds)


def _end(facts: CurveFacts) -> Kind | None:
    """Return how a training ended; the first rule that holds.

    - still improving: the score clearly rises at the end (`Trend`) of a training that spent its budget; one that rises
      and was ended sooner, at a target for example, has no diagnosis.
    - flat: the training loss never fell by more than 5 %, and the score never exceeded that of the first epoch by twice
      what counts.
    - overfitting: the training loss still falls, while the validation loss (the score, where there is none) clearly
      gets worse.
    - stalled: the training loss still falls, the score stays (`Trend.stays`), its median in the last part exceeds that
      of the part before by no more than what counts, and the validation loss does not fall by what counts.
    - settled: the score stays, and the training loss does not clearly move.
    """
    gain, fall = facts.gain, facts.fall
    if gain is None:
        return None
    if gain.rises:
        return Kind.IMPROVING if facts.is_whole else None
    if facts.moved is not None and facts.moved < FLAT and (facts.rise or 0.0) < 2 * gain.least:
        return Kind.FLAT
    if _still_falls(fall):
        return _overfitting_or_stalled(facts, gain)
    return Kind.SETTLED if fall is not None and not fall.is_clear and gain.stays else None


def _overfitting_or_stalled(facts: CurveFacts, gain: Trend) -> Kind | None:
    worse = gain.falls if facts.val_loss is None else facts.val_loss.rises
    if worse:
        return Kind.OVERFITTING
    stays = gain.stays and facts.lead is not None and facts.lead <= gain.least
    improves = facts.val_loss is not None and facts.val_loss.change < -facts.val_loss.least
    return Kind.STALLED if stays and not improves else None


def _still_falls(fall: Trend | None) -> bool:
    return fall is not None and fall.falls and -fall.change >= STILL_FALLS


def _stability(facts: CurveFacts) -> list[Kind]:
    """Return what the training loss shows of the learning rate.

    - noisy: the update noise is 15 % or more.
    - loss spikes: the training loss jumped in one epoch or more (`spikes`).
    """
    found = [Kind.NOISY] if (facts.update_noise or 0.0) >= NOISY_ALONE else []
    return [*found, Kind.SPIKES] if facts.spikes else found


def _since(kind: Kind, facts: CurveFacts) -> int | None:
    if kind is Kind.STALLED:
        return facts.level_since
    if kind is Kind.OVERFITTING:
        return facts.best_epoch if facts.val_loss is None else facts.least_val_epoch
    return facts.spikes[0] if kind is Kind.SPIKES and facts.spikes else None


def _words(kind: Kind, facts: CurveFacts, objective: str) -> str:
    since = _since(kind, facts)
    return {
        Kind.IMPROVING: f"{objective} is still improving at the end of the budget: train for more epochs",
        Kind.STALLED: (
            f"the training loss still falls while {objective} has stalled since epoch {since}: "
            "more noise (a smaller batch) or regularisation"
        ),
        Kind.OVERFITTING: (
            f"overfitting since epoch {since}: the training loss still falls while validation gets worse; "
            "stop there, or more noise (a smaller batch) or regularisation"
        ),
        Kind.SETTLED: f"settled: neither the training loss nor {objective} moves any more",
        Kind.FLAT: (
            "flat: the training loss has hardly fallen since the first epoch; the learning rate is too low, far too "
            "high, or all was learned within one epoch"
        ),
        Kind.NOISY: (
            f"noisy: the training loss varies by {100 * (facts.update_noise or 0.0):.0f} % from epoch to epoch; "
            "the learning rate is likely too high for this batch size"
        ),
        Kind.SPIKES: (
            f"the training loss jumped in epoch {', '.join(map(str, facts.spikes or ()))}: lower the learning rate, or "
            "clip the gradient"
        ),
    }[kind]


def diagnose_size(
    trainings: Sequence[CurveFacts], objective: str, *, noise_of_others: float | None = None
) -> tuple[Diagnosis, ...]:
    """Return what more than half of the trainings of one batch size show.

    The words are those of the training whose beginning is the median. A batch size is noisy, too, if its median update
    noise is 5 % or more, and more than half of its trainings exceed twice what the others have.

    Args:
        trainings: Those that judge the batch size, a seed each.
        objective: The name of the score.
        noise_of_others: The median update noise of the other batch sizes; None if unknown.
    """
    each = [(facts, {found.kind: found for found in diagnose(facts, objective)}) for facts in trainings]
    shown = []
    for kind in Kind:
        having = [found[kind] for _, found in each if kind in found]
        if len(having) > len(trainings) / 2:
            shown.append(_typical(having))
        elif kind is Kind.NOISY and (beside := _noisy_beside(trainings, noise_of_others)):
            shown.append(beside)
    return tuple(shown)


def _typical(having: Sequence[Diagnosis]) -> Diagnosis:
    begin = median_low([found.since or 0 for found in having])
    return next(found for found in having if (found.since or 0) == begin)


def _noisy_beside(trainings: Sequence[CurveFacts], others: float | None) -> Diagnosis | None:
    noises = [facts.update_noise for facts in trainings if facts.update_noise is not None]
    if others is None or not noises or median(noises) < NOISY_AMONG:
        return None
    if sum(noise > NOISIER * others for noise in noises) <= len(trainings) / 2:
        return None
    return Diagnosis(
        Kind.NOISY,
        f"noisy: the training loss varies by {100 * median(noises):.0f} % from epoch to epoch, against "
        f"{100 * others:.1f} % at the other batch sizes; the learning rate is likely too high for this batch size",
    )
