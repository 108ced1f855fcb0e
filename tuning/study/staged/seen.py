"""Seen: what a staged search knows: its trials so far, and what was measured."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass

from search_spaces.space import RESERVED_NAMES, SearchSpace, Setting, as_pairs, is_active
from tuning.machine.facts import MachineFacts, NoiseFacts
from tuning.stats.arms import Arm, group_into_arms
from tuning.stats.results import TrialResult
from tuning.study.plans import Planned, is_out_of_memory
from tuning.study.records import TrialRecord
from tuning.study.staged.question import Question
from tuning.study.staged.rates import Rate, missing, outward
from tuning.study.staged.reference import has_reached
from tuning.trial import HyperparameterValue, Status


@dataclass(frozen=True)
class Seen:
    """What is known at one moment; it decides nothing but which learning rates a batch size still lacks.

    Args:
        space: What may be tried.
        question: What is to be answered.
        machine: Measured before the first trial.
        noise: Measured after the reference; None before.
        records: Every trial. Interrupted ones count for nothing, since they are owed.
    """

    space: SearchSpace
    question: Question
    machine: MachineFacts
    noise: NoiseFacts | None
    records: tuple[TrialRecord, ...]

    def setting(self, batch_size: int, rate: Rate) -> Setting:
        """A setting, the model's own hyperparameters at their defaults."""
        return Setting(batch_size, rate, as_pairs(defaults_of(self.space)))

    def is_running(self, stage: str, *, before_seed: int | None = None) -> bool:
        """Whether a trial of the stage has not ended."""
        running = (r for r in self._settled if r.status is None and r.stage == stage)
        return any(before_seed is None or record.seed < before_seed for record in running)

    def has_started(self, planned: Planned) -> bool:
        """Whether a trial runs or has ended."""
        return (planned.setting, planned.seed, planned.stage) in self._started

    def has_no_memory_for(self, batch_size: int) -> bool:
        """Whether a trial of this size or a smaller one ran out of memory."""
        return is_out_of_memory(self.setting(batch_size, None), self.records)

    def results(self, *stages: str) -> list[TrialResult]:
        """What the ended trials of some stages came to."""
        ended = (record for record in self._settled if record.outcome is not None and record.stage in stages)
        return [record.result(self.question.objective) for record in ended]

    def best(self, target: float | None, *stages: str) -> dict[int, Arm]:
        """Each batch size at its best setting, of those with a score.

        A batch size that never reached the target is judged by its final scores, since all its times are censored.
        """
        results, maximize = self.results(*stages), self.question.maximize
        found = {}
        for arm in group_into_arms(results, maximize=maximize, target=target) if results else ():
            trials = arm.all_trials
            hopeless = target is not None and not has_reached(trials, target, maximize=maximize)
            chosen = group_into_arms(trials, maximize=maximize)[0] if hopeless else arm
            if chosen.scores:
                found[chosen.batch_size] = chosen
        return found

    def rates_lacking(self, batch_size: int, planned: Sequence[Rate], *stages: str) -> list[Rate]:
        """Those of the planned learning rates that no trial of some stages has tried at a batch size."""
        return missing(planned, self._tried(batch_size, *stages))

    def rate_beyond(self, batch_size: int, planned: Sequence[Rate], best: Arm | None, *stages: str) -> list[Rate]:
        """One learning rate beyond the edge at which the best one lies; none if it is interior.

        Args:
            batch_size: The batch size.
            planned: The learning rates to be tried at first.
            best: The batch size at its best rate, None without a score: then only divergence asks for lower rates.
            stages: Whose trials count; all of them have ended.
        """
        trials = (r for r in self._settled if r.setting.batch_size == batch_size and r.stage in stages)
        if best is None and not any(record.status is Status.DIVERGED for record in trials):
            return []
        rate = outward(planned, self._tried(batch_size, *stages), None if best is None else best.learning_rate)
        return [] if rate is None else [rate]

    def without(self, stage: str, *, from_seed: int) -> Seen:
        """The same, with the trials of a stage that use later seeds not yet run."""
        kept = tuple(r for r in self.records if r.stage != stage or r.seed < from_seed)
        return dataclasses.replace(self, records=kept)

    def _tried(self, batch_size: int, *stages: str) -> list[Rate]:
        trials = (r for r in self._settled if r.setting.batch_size == batch_size and r.stage in stages)
        return [record.setting.learning_rate for record in trials]

    @functools.cached_property
    def _settled(self) -> list[TrialRecord]:
        return [record for record in self.records if record.is_settled]

    @functools.cached_property
    def _started(self) -> set[tuple[Setting, int, str]]:
        return {(record.setting, record.seed, record.stage) for record in self._settled}


def defaults_of(space: SearchSpace) -> dict[str, HyperparameterValue]:
    """The model's own hyperparameters at their defaults, those that their conditions make inactive left out."""
    chosen: dict[str, HyperparameterValue] = {}
    for entry in space.entries:
        if entry.name not in RESERVED_NAMES and is_active(entry, chosen):
            chosen[entry.name] = entry.default
    return chosen
