"""Observations: what the course of the trainings adds to an answer, where it exceeds the noise between seeds."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence

import scipy

from tuning.stats.behaviour import (
    Behaviour,
    SizeBehaviour,
    Trained,
    equal_training_loss,
    size_behaviours,
    trained,
)
from tuning.stats.comparison import Comparison, compare
from tuning.stats.curves import window
from tuning.stats.diagnoses import Diagnosis, Kind
from tuning.stats.findings import Findings
from tuning.stats.reasons import listing, number

_LEVEL = 0.95
_LEAST_GAP = 0.05
_LEAST_RATIO = 2.0
_LEAST_NOISE = 0.01
_NEGLIGIBLE = 1e-4


def behaviour_of(findings: Findings) -> Behaviour:
    """Return how the trainings went at each batch size, with what matters of it in words.

    Args:
        findings: What was found.
    """
    sizes = trained(findings.arms, findings.objective)
    level = equal_training_loss(sizes)
    rows = size_behaviours(sizes, findings.objective, level)
    compared = [row for row in rows if row.batch_size in findings.decision.quality.batch_sizes]
    observations = (
        _improving(compared, findings, sizes),
        _of_kind(compared, Kind.FLAT),
        _of_kind(compared, Kind.OVERFITTING),
        _of_kind(compared, Kind.STALLED),
        _of_kind(compared, Kind.NOISY),
        _generalisation(sizes, level),
        _stability(compared, sizes),
        _of_kind(compared, Kind.SPIKES),
    )
    return Behaviour(rows, level, tuple(filter(None, observations)))


def _improving(rows: Sequence[SizeBehaviour], findings: Findings, sizes: Mapping[int, Trained]) -> str:
    """Return that the budget was short, where the score still rose by more than the noise between seeds.

    With a target nothing is said: a training that reached it has ended, and one that did not is told elsewhere.
    """
    least = findings.decision.quality.sigma or 0.0
    gains = {row.batch_size: row.gain_at_end or 0.0 for row in rows if _shows(row, Kind.IMPROVING)}
    gains = {size: gain for size, gain in gains.items() if gain > least}
    if not gains or findings.target is not None:
        return ""
    most = max(gains, key=lambda size: gains[size])
    epochs = window(max(facts.epochs for facts in sizes[most].facts.values()))
    of_one = f" with {most}" if len(gains) > 1 else ""
    told = (
        f"{findings.objective.name} was still improving at the end of the budget with {listing(list(gains))} "
        f"(by {number(gains[most], 2)} in the last {epochs} epochs{of_one})"
    )
    if max(gains) < max(row.batch_size for row in rows):
        return f"{told}: more epochs may change the order."
    return (
        f"{told}: the comparison favours small batch sizes, which make more updates of the same examples; give "
        "--target, or more epochs."
    )


def _of_kind(rows: Sequence[SizeBehaviour], kind: Kind) -> str:
    """Return the diagnosis of the smallest batch size that shows it, for all that do."""
    having = {row.batch_size: found for row in rows if (found := _shows(row, kind))}
    if not having:
        return ""
    first = next(iter(having.values()))
    also = list(having)[1:]
    return f"With {next(iter(having))}: {first.text}{f'; so too with {listing(also)}' if also else ''}."


def _shows(row: SizeBehaviour, kind: Kind) -> Diagnosis | None:
    return next((found for found in row.diagnoses if found.kind is kind), None)


def _generalisation(sizes: Mapping[int, Trained], level: float | None) -> str:
    """Return which batch sizes generalise worse at equal training loss.

    Beyond the noise between seeds, and by 5 % of the least validation loss or more.
    """
    scores = {size: {seed: -v for seed, v in made.at_equal_loss(level).items()} for size, made in sizes.items()}
    found = _compared(scores)
    if found is None or level is None:
        return ""
    least = _LEAST_GAP * abs(found.mean(found.best))
    worse = [size for size in clearly_worse(found) if found.gap(size) >= least]
    if not worse:
        return ""
    told = [f"{size} ({number(-found.mean(size))})" for size in worse]
    return (
        f"At equal training loss ({number(level)}) the validation loss is least with {found.best} "
        f"({number(-found.mean(found.best))}) and higher, by more than the noise between seeds, with {listing(told)}."
    )


def _stability(rows: Sequence[SizeBehaviour], sizes: Mapping[int, Trained]) -> str:
    """Return which batch sizes train less steadily, where none is called noisy anyway.

    Beyond the noise between seeds, by twice as much or more, and by 1 % of the loss or more.
    """
    if any(_shows(row, Kind.NOISY) for row in rows):
        return ""
    known = {
        size: {s: f.update_noise for s, f in made.facts.items() if f.update_noise is not None}
        for size, made in sizes.items()
    }
    found = _compared({size: {s: -math.log(max(v, _NEGLIGIBLE)) for s, v in by.items()} for size, by in known.items()})
    if found is None:
        return ""
    noise = {size: math.exp(-found.mean(size)) for size in found.batch_sizes}
    worse = [s for s in clearly_worse(found) if noise[s] >= max(_LEAST_NOISE, _LEAST_RATIO * noise[found.best])]
    if not worse:
        return ""
    told = [f"{size} ({100 * noise[size]:.1f} %)" for size in worse]
    return (
        f"The training loss varies least from epoch to epoch with {found.best} ({100 * noise[found.best]:.1f} %) and "
        f"more, beyond the noise between seeds, with {listing(told)}."
    )


def _compared(scores: Mapping[int, Mapping[int, float]]) -> Comparison | None:
    """Return the comparison of the batch sizes that have scores; None below two, or where the noise is unknown."""
    known = {size: by_seed for size, by_seed in scores.items() if by_seed}
    found = compare(known) if len(known) > 1 else None
    return None if found is None or found.sigma is None else found


def clearly_worse(found: Comparison) -> list[int]:
    """Return the batch sizes below the best one by more than the noise, ascending.

        gap > q(.95; k, nu)/sqrt(2) * SE

    with q the point of the studentised range of k means. In 95 of 100 studies in which all batch sizes are alike none
    is called worse: the answer has other things to say, and names no difference that may well be none.

    Args:
        found: The comparison.

    Source: Tukey, The problem of multiple comparisons (1953).
    """
    k, degrees = len(found.batch_sizes), found.degrees_of_freedom
    if found.sigma is None or k < 2 or degrees < 1:
        return []
    point = _studentised_range(k, degrees) / math.sqrt(2)
    errors = {size: found.standard_error(size) or 0.0 for size in found.batch_sizes}
    return [size for size in found.batch_sizes if size != found.best and found.gap(size) > point * errors[size]]


@functools.cache  # it takes a tenth of a second
def _studentised_range(means: int, degrees: int) -> float:
    return float(scipy.stats.studentized_range.ppf(_LEVEL, means, degrees))
