"""Plan: decides what a study tries next, from what it has tried; and the simplest one, a grid."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from search_spaces.space import SearchSpace, Setting
from tuning.instructions import Budget
from tuning.study.records import ChangeReader, Records
from tuning.study.study import Encoder, PlainEncoder
from tuning.trial import Hyperparameters, HyperparameterValue, Status, Trial


class Pause(Enum):
    """Why there is no trial to start now."""

    WAIT = "what comes next depends on trials that still run"
    DONE = "everything planned has been started"


@dataclass(frozen=True)
class MeasureNoise:
    """A plan needs the gradient's noise scale along a training before it goes on.

    Args:
        batch_size: The batch size of that training.
        learning_rate: Its learning rate; None for the model's own.
        seed: Its seed.
        examples: Its length.
        hyperparameters: Values for the build function's `hp`, by name.
    """

    batch_size: int
    learning_rate: float | None
    seed: int
    examples: float
    hyperparameters: Mapping[str, HyperparameterValue] = field(default_factory=dict)


@dataclass(frozen=True)
class TimeUpdates:
    """A plan needs seconds per update, measured with nothing else running, before it goes on.

    Args:
        batch_sizes: Batch sizes to time, ascending; empty for a few up to the largest that fits.
        again: Whether they are timed for the second time, minutes later, for the answer.
        hyperparameters: Values for the build function's `hp`, by name.
    """

    batch_sizes: tuple[int, ...] = ()
    again: bool = False
    hyperparameters: Mapping[str, HyperparameterValue] = field(default_factory=dict)


@dataclass(frozen=True)
class ShareOut:
    """A plan has trials ahead that may run beside one another, where that is faster on the machine.

    Args:
        batch_size: About the batch size of these trials.
        updates: What their optimizer updates come to there.
    """

    batch_size: int
    updates: float


Wish = MeasureNoise | TimeUpdates | ShareOut
Decision = Trial | Wish | Pause


@dataclass(frozen=True)
class Judgement:
    """What an answer is judged by, where the plan knows better than the options.

    Args:
        target: The score by the time to which batch sizes are judged; None for what the options say.
        throughput: Examples per second by batch size, measured with nothing else running; None for the trials' own.
        throughput_errors: The standard error of ln of it, where that is known.
        notes: What the plan took for granted, a sentence each.
    """

    target: float | None = None
    throughput: Mapping[int, float] | None = None
    throughput_errors: Mapping[int, float] | None = None
    notes: tuple[str, ...] = ()


class Plan(Protocol):
    """Decides what a study tries, from its records alone, at a cost that does not grow with what is settled.

    Interrupted and lost trials are not its concern: they run again before it is asked.
    """

    @property
    def encoder(self) -> Encoder:
        """How Optuna is told of its settings."""

    def next(self, records: Records) -> Decision:
        """Return the next trial, what is to be measured before, or why there is neither."""

    def total(self, records: Records) -> int:
        """Return how many trials the plan comes to with those there are, as far as can be said by now."""

    def judgement(self, records: Records) -> Judgement:
        """Return what an answer is to be judged by."""

    def outline(self, records: Records) -> str:
        """Return a line for people on what is ahead; empty where there is nothing to say."""


class JudgedByOptions:
    """What plans share whose answer is judged as the user's options say, and whose progress needs no more words."""

    def judgement(self, records: Records) -> Judgement:  # noqa: ARG002  (the trials say it all)
        """Return that the options decide."""
        return Judgement()

    def outline(self, records: Records) -> str:  # noqa: ARG002  (the progress says it all)
        """Return nothing."""
        return ""


class GridPlan(JudgedByOptions):
    """Every setting with every seed, once; all settings at the first seed before any at the second.

    Args:
        space: The space whose grid is run.
        seeds: How many seeds, one after the other; the same for every setting.
        first_seed: The first of them.
        budget: How long each trial may train.
        max_trials: Plan no more than this many trials; None for all.
    """

    def __init__(
        self, space: SearchSpace, seeds: int, *, budget: Budget, max_trials: int | None = None, first_seed: int = 0
    ) -> None:
        self.encoder = PlainEncoder(space.entries)
        numbers = range(first_seed, first_seed + seeds)
        trials = (Trial(setting, seed, budget=budget) for seed in numbers for setting in space.grid())
        self._left = deque(list(trials)[:max_trials])
        self._planned = frozenset(trial.key for trial in self._left)
        self._missing = set(self._planned)
        self._reader = ChangeReader()

    def next(self, records: Records) -> Decision:
        """Return the first trial that has not been started."""
        while self._left:
            if not records.has(self._left[0]):
                return self._left[0]
            self._left.popleft()
        return Pause.DONE

    def total(self, records: Records) -> int:
        """Return the number of trials that there are, others than this grid's included, and that are missing."""
        for trial in self._reader.new(records):
            if records.has(trial):
                self._missing.discard(trial.key)
            elif trial.key in self._planned:  # it was interrupted, or lost
                self._missing.add(trial.key)
        return records.n_settled + len(self._missing)


class MemoryWall:
    """What trials have shown of memory: it grows with the batch size, so a size that failed rules out all larger.

    A size counts as failed only above every size that completed with the same hyperparameters; below that, the worker
    died of something else.
    """

    def __init__(self) -> None:
        self._fits: Counter[Hyperparameters] = Counter()
        self._lost: defaultdict[Hyperparameters, set[int]] = defaultdict(set)
        self._without_room: set[Hyperparameters] = set()

    def add(self, trial: Trial) -> None:
        """Take in how a trial ended."""
        if trial.status is Status.COMPLETED:
            self._fits[trial.hyperparameters] = max(self._fits[trial.hyperparameters], trial.batch_size)
            self._without_room.discard(trial.hyperparameters)
        elif trial.status is Status.OUT_OF_MEMORY:
            self._lost[trial.hyperparameters].add(trial.batch_size)
            if trial.batch_size == 1 and not self._fits[trial.hyperparameters]:
                self._without_room.add(trial.hyperparameters)

    @property
    def rules_out_all(self) -> bool:
        """Whether some hyperparameters have left no memory for a single example."""
        return bool(self._without_room)

    def rules_out(self, setting: Setting) -> bool:
        """Return whether a setting is known not to fit."""
        fits = self._fits[setting.hyperparameters]
        lost = [size for size in self._lost.get(setting.hyperparameters, ()) if size > fits]
        return bool(lost) and setting.batch_size >= min(lost)
