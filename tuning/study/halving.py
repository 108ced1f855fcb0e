"""Successive halving: stops a trial that is behind others of its own batch size at equal examples."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tuning.stats.results import CONFIRM
from tuning.study.plans import Planned
from tuning.study.records import TrialRecord
from tuning.trial import EpochReport, Status

RUNGS = (1 / 9, 1 / 3)
"""Shares of a trial's examples at which it is compared; the next, in the same ratio, is its end."""

_BROKEN = (Status.DIVERGED, Status.OUT_OF_MEMORY, Status.FAILED, Status.INTERRUPTED)


@dataclass(frozen=True)
class Curve:
    """A trial's scores as halving sees them.

    Args:
        examples: Seen at each evaluation, ascending.
        scores: There; larger is better.
        is_alive: Whether it runs or has completed, so that it may be the survivor.
        has_ended: Whether no further evaluation will come.
    """

    examples: tuple[int, ...]
    scores: tuple[float, ...]
    is_alive: bool = True
    has_ended: bool = False

    def score_at(self, rung: float) -> float | None:
        """At the first evaluation not before a rung; a trial that ended before it, at its goal, counts as it ended."""
        found = next((score for seen, score in zip(self.examples, self.scores, strict=True) if seen >= rung), None)
        if found is None and self.is_alive and self.has_ended and self.scores:
            return self.scores[-1]
        return found


def rung_reached(examples: Sequence[int], budget: float) -> float | None:
    """The rung that the last evaluation is the first to reach; None if it reaches none.

    Args:
        examples: Seen at each evaluation, ascending.
        budget: Examples of the whole trial.
    """
    if not examples:
        return None
    before = examples[-2] if len(examples) > 1 else 0
    return next((share * budget for share in reversed(RUNGS) if before < share * budget <= examples[-1]), None)


def is_behind(curve: Curve, peers: Iterable[Curve], rung: float) -> bool:
    """Whether a trial is in the worse half at a rung, and a better one is there to survive it.

    Of n trials that have come to the rung, this one included, the best ceil(n/2) go on. Trials come one after another,
    so the first is never stopped, and later ones are held against all before them.

    Args:
        curve: Of a trial that has come to the rung.
        peers: Of the other trials of its batch size with its seed, broken ones left out.
        rung: In examples.

    Source: Jamieson and Talwalkar, Non-stochastic Best Arm Identification (2016), for the halving; Li et al., A System
        for Massively Parallel Hyperparameter Tuning (2020), for deciding as trials come.
    """
    own = curve.score_at(rung)
    if own is None:
        return False
    scored = [(score, peer) for peer in peers if (score := peer.score_at(rung)) is not None]
    better = [peer for score, peer in scored if score > own]
    survivors = (len(scored) + 2) // 2
    return len(better) >= survivors and any(peer.is_alive for peer in better)


class Halving:
    """Applies the rule to a study's trials, but never to those that confirm.

    Args:
        objective: Name of the score.
        maximize: Whether larger is better.
        epochs: Of a trial without a budget of its own.
        n_train: Training examples in an epoch.
    """

    def __init__(self, objective: str, *, maximize: bool, epochs: int, n_train: int) -> None:
        self._objective, self._sign = objective, 1 if maximize else -1
        self._epochs, self._n_train = epochs, n_train

    def should_stop(self, record: TrialRecord, others: Iterable[TrialRecord]) -> bool:
        """Whether a running trial, whose epochs so far are in its record, is behind."""
        if record.stage == CONFIRM:
            return False
        curve = self._curve(record)
        rung = rung_reached(curve.examples, (record.budget.epochs if record.budget else self._epochs) * self._n_train)
        if rung is None:
            return False
        peers = (r for r in others if r is not record and _group(r) == _group(record) and r.status not in _BROKEN)
        return is_behind(curve, [self._curve(peer) for peer in peers], rung)

    def _curve(self, record: TrialRecord) -> Curve:
        points = scores_of(record.epochs, self._objective)
        return Curve(
            tuple(examples for examples, _ in points),
            tuple(self._sign * score for _, score in points),
            is_alive=record.status in (None, Status.COMPLETED),
            has_ended=record.status is not None,
        )


def scores_of(epochs: Iterable[EpochReport], objective: str) -> list[tuple[int, float]]:
    """Examples seen and score of each evaluation."""
    return [(epoch.examples_seen, epoch.metrics[objective]) for epoch in epochs if objective in epoch.metrics]


def starved(records: Sequence[TrialRecord]) -> Planned | None:
    """A stopped trial to run again, because none of its batch size came through: the one that it was stopped for broke.

    Of several the one that got furthest. It is not stopped twice, for nobody else is alive; where it breaks, too, the
    next one is run.
    """
    alive = {_group(record) for record in records if record.status in (None, Status.COMPLETED)}
    broken = {(_group(record), record.setting) for record in records if record.status in _BROKEN}
    lost = [
        record
        for record in records
        if record.status is Status.PRUNED
        and _group(record) not in alive
        and (_group(record), record.setting) not in broken
    ]
    if not lost:
        return None
    furthest = max(lost, key=lambda record: len(record.epochs))
    return Planned(furthest.setting, furthest.seed, furthest.stage, furthest.budget)


def _group(record: TrialRecord) -> tuple[int, int, str]:
    return record.setting.batch_size, record.seed, record.stage
