"""Trainings that missed the target: late ones, which would have reached it, and stuck ones, and what they cost."""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy

from tuning.stats.comparison import Comparison, compare
from tuning.stats.reaches import run_noise
from tuning.stats.target import Crossing

Array = npt.NDArray[np.float64]

STUCK, NOT_STUCK = 0.5, 2.0
"""What is known beforehand of the share of a batch size's trainings that get stuck: a Beta distribution of mean 1/5."""
DOUBT = 0.1
_SHARES = ((np.arange(99) + 0.5) / 99) ** 2  # one half is the border of two cells
_STEPS = np.linspace(-4.0, 8.0, 49)[:, None]


@dataclass(frozen=True)
class MissLoss:
    """What misses cost: by how much they raise ln(examples to the target) above the mean of those that reached it.

    Args:
        mean: The posterior mean.
        variance: The posterior variance, beyond that of the mean of those that reached it.
        doubt: The chance that more than half of all trainings with the batch size get stuck.
    """

    mean: float
    variance: float
    doubt: float

    @property
    def is_tolerable(self) -> bool:
        """Whether the batch size may be picked: with a chance of 90 % at most half of its trainings get stuck.

        Its cost alone does not rule a batch size out: where those that get stuck soon end by themselves, to start again
        is cheap, however often.
        """
        return self.doubt <= DOUBT


NO_LOSS = MissLoss(0.0, 0.0, 0.0)


@dataclass(frozen=True)
class _Missed:
    """A training that missed the target.

    Args:
        log_examples: ln of the examples that it saw.
        effect: The common effect of its seed on ln(examples to the target), as far as it is known.
        told_by: How many trainings tell that; 0 if none do.
        may_be_late: Whether it had its whole budget; one that ended by itself before is stuck.
    """

    log_examples: float
    effect: float
    told_by: int
    may_be_late: bool


def losses_of_misses(
    crossings: Mapping[int, Mapping[int, Crossing]], ended_early: Mapping[int, Collection[int]] | None = None
) -> dict[int, MissLoss]:
    """Return what misses cost each batch size that has some, if at least half of its seeds reached the target.

        P(miss) = p + (1 - p)*Phi((m + u[s] - ln c)/sigma)
        cost = exp(m) + p/(1 - p)*c

    With chance p a training is stuck, however long it trains. Else its ln(examples to the target) is normal around
    m + u[s], and it is late if that exceeds ln c, c being its budget (Tobin's censored normal). A late training is let
    train on; a stuck one starts again with another seed when it has spent its budget, until one reaches the target. m
    has the normal posterior of those that did, p a Beta(1/2, 2) prior, and both are averaged over a grid. The effects u
    of the seeds, and sigma, are taken from the comparison of all that did.

    Args:
        crossings: When each seed reached the target, by batch size and seed. A batch size of which that is not known of
            each seed is left out.
        ended_early: By batch size, the seeds whose training ended by itself before its budget: those are not late.

    Source: Tobin, Estimation of relationships for limited dependent variables (1958), for late trainings; Farewell, The
        use of mixture models for the analysis of survival data with long-term survivors (1982), for stuck ones; Auger
        and Hansen, Performance evaluation of an advanced local search evolutionary algorithm (2005), for the cost of
        starting again.
    """
    if all(each.reached for seen in crossings.values() for each in seen.values()):
        return {}
    known = {size: seen for size, seen in crossings.items() if _half_reached(seen)}
    hits = {size: {s: math.log(c.examples) for s, c in seen.items() if c.reached} for size, seen in known.items()}
    if not hits:
        return {}
    efforts = compare(hits)
    effects, sigma = _seed_effects(hits, efforts), run_noise(efforts.sigma)
    found = {}
    for size, seen in known.items():
        ended = (ended_early or {}).get(size, ())
        missed = [
            _Missed(math.log(c.examples), *effects.get(s, (0.0, 0)), may_be_late=s not in ended)
            for s, c in seen.items()
            if not c.reached
        ]
        if missed:
            found[size] = _loss(efforts.mean(size), len(hits[size]), sigma, missed)
    return found


def _half_reached(seen: Mapping[int, Crossing]) -> bool:
    """Return whether at least half of the seeds, and one at all, reached the target, and it is known when."""
    hits = sum(each.reached for each in seen.values())
    is_known = all(math.isfinite(each.examples) and each.examples > 0 for each in seen.values())
    return is_known and 0 < hits >= len(seen) / 2


def _seed_effects(hits: Mapping[int, Mapping[int, float]], efforts: Comparison) -> dict[int, tuple[float, int]]:
    """Return the common effect of each seed, and how many trainings tell it; none where seeds do not pair sizes."""
    if not efforts.blocked:
        return {}
    found: dict[int, list[float]] = {}
    for size, by_seed in hits.items():
        for seed, value in by_seed.items():
            found.setdefault(seed, []).append(value - efforts.mean(size))
    return {seed: (statistics.fmean(each), len(each)) for seed, each in found.items()}


def _loss(mean: float, hits: int, sigma: float, missed: Sequence[_Missed]) -> MissLoss:
    """Return the loss of one batch size, from a grid of m (rows) and p (columns)."""
    error = sigma / math.sqrt(hits)
    logs = -0.5 * _STEPS**2 + (STUCK - 0.5) * np.log(_SHARES) + (NOT_STUCK - 1 + hits) * np.log1p(-_SHARES)
    for each in missed:
        logs = logs + np.log(_SHARES + (1 - _SHARES) * _chance_of_late(mean + error * _STEPS, sigma, each))
    weights = np.exp(logs - logs.max())
    weights /= weights.sum()
    spent = math.exp(statistics.fmean(each.log_examples for each in missed) - mean)
    losses = np.log(np.exp(error * _STEPS) + _SHARES / (1 - _SHARES) * spent)
    expected = float(np.sum(weights * losses))
    variance = float(np.sum(weights * (losses - expected) ** 2))
    return MissLoss(expected, max(0.0, variance - error**2), float(weights[:, _SHARES > 0.5].sum()))


def _chance_of_late(means: Array, sigma: float, missed: _Missed) -> Array:
    """Return P(late | not stuck); the seed's effect has an error of its own, as large as sigma where none tells it."""
    if not missed.may_be_late:
        return np.zeros_like(means)
    spread = sigma * math.sqrt(1 + 1 / max(1, missed.told_by))
    return np.asarray(scipy.special.ndtr((means + missed.effect - missed.log_examples) / spread))
