"""Successive halving: stops a trial that is behind others of its own batch size at equal examples."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tuning.objective import Objective
from tuning.study.records import ChangeReader, Records
from tuning.trial import CONFIRM, Status, Trial

RUNGS = (1 / 9, 1 / 3)
"""Shares of a trial's examples at which it is compared; the next, in the same ratio, is its end."""

Group = tuple[int, int, str]
"""What trials are compared within: batch size, seed and stage."""

_BROKEN = (Status.DIVERGED, Status.OUT_OF_MEMORY, Status.FAILED, Status.INTERRUPTED, Status.LOST)


@dataclass(frozen=True)
class Course:
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


def is_behind(curve: Course, peers: Iterable[Course], rung: float) -> bool:
    """Whether a trial is in the worse half at a rung, and a better one is there to survive it.

    Of n trials that have come to the rung, this one included, the best ceil(n/2) go on. Trials come one after another,
    so the first is never stopped, and later ones are held against all before them.

    Args:
        curve: The curve of a trial that has come to the rung.
        peers: The other trials of its batch size with its seed, broken ones left out.
        rung: The rung, in examples.

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
        objective: The metric that decides.
        n_train: Training examples in an epoch.
        stops: Whether it stops trials; if not, it only has those run again that an earlier search had stopped in vain.
    """

    def __init__(self, objective: Objective, *, n_train: int, stops: bool = True) -> None:
        self._objective, self._n_train, self._stops = objective, n_train, stops
        self._groups: defaultdict[Group, dict[str, Trial]] = defaultdict(dict)
        self._starved: dict[Group, Trial] = {}
        self._reader = ChangeReader()

    def should_stop(self, trial: Trial, records: Records) -> bool:
        """Return whether a running trial is behind, by its reports so far."""
        if not self._stops or trial.stage == CONFIRM:
            return False
        self._follow(records)
        curve = self._curve(trial)
        rung = rung_reached(curve.examples, trial.budget.epochs * self._n_train)
        if rung is None:
            return False
        others = self._groups[group_of(trial)].values()
        peers = [self._curve(peer) for peer in others if _is_peer(peer, trial)]
        return is_behind(curve, peers, rung)

    def starved(self, records: Records) -> Trial | None:
        """Return a stopped trial to run again, because none of its batch size came through: those ahead of it broke.

        Of several it is the one that got furthest. It is not stopped twice, for nobody else is alive; where it breaks,
        too, the next one is run.
        """
        self._follow(records)
        return next(iter(self._starved.values()), None)

    def _follow(self, records: Records) -> None:
        """Take in what has changed; only batch sizes that it concerns are looked at again."""
        changed = self._reader.new(records)
        for trial in changed:
            self._groups[group_of(trial)][trial.trial_id] = trial
        for group in {group_of(trial) for trial in changed}:
            self._starved.pop(group, None)
            if lost := _stopped_in_vain(self._groups[group].values()):
                self._starved[group] = max(lost, key=lambda trial: len(trial.reports))

    def _curve(self, trial: Trial) -> Course:
        examples, scores = trial.curve(self._objective.name)
        return Course(
            examples,
            tuple(self._objective.sign * score for score in scores),
            is_alive=trial.status in (None, Status.COMPLETED),
            has_ended=trial.status is not None,
        )


def _stopped_in_vain(group: Iterable[Trial]) -> list[Trial]:
    """Return the stopped trials of a batch size that has none else, and whose setting has not broken."""
    trials = list(group)
    if any(trial.status in (None, Status.COMPLETED) for trial in trials):
        return []
    broken = {trial.setting for trial in trials if trial.status in _BROKEN}
    return [trial for trial in trials if trial.status is Status.PRUNED and trial.setting not in broken]


def _is_peer(other: Trial, trial: Trial) -> bool:
    return other.trial_id != trial.trial_id and other.status not in _BROKEN


def group_of(trial: Trial) -> Group:
    """Return what a trial is compared within."""
    return trial.batch_size, trial.seed, trial.stage
