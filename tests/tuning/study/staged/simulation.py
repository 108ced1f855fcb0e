"""A trainer in closed form, and staged searches run on it without Optuna, workers or time."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from search_spaces import BatchSize, LearningRate, SearchSpace, Setting
from tuning.machine.facts import MachineFacts, NoiseFacts, Timings
from tuning.study.plans import Pause, Planned, owed
from tuning.study.records import Budget, TrialRecord
from tuning.study.staged.plan import StagedPlan
from tuning.study.staged.question import Question
from tuning.trial import EpochReport, Status, TrialOutcome

N_TRAIN, EPOCHS = 1000, 10
T0, PER_EXAMPLE = 1e-3, 1e-5
MACHINE_SIZES = (1, 4, 16, 64, 256, 1024)
TIMINGS = Timings({size: T0 + PER_EXAMPLE * size for size in MACHINE_SIZES})


@dataclass(frozen=True)
class Trainer:
    """Scores 1 - exp(-examples/E), where E follows the law of updates and grows with the distance of the learning rate
    from `best_rate * sqrt(B/64)`.

    Args:
        best_rate: At batch size 64.
        critical: B_crit.
        noise: Standard deviation of ln E between seeds.
        diverges_above: Rates, relative to the best of their batch size, that diverge.
        memory: The largest batch size that fits.
    """

    best_rate: float = 1e-3
    critical: float = 100.0
    noise: float = 0.05
    diverges_above: float = math.inf
    memory: int = 10**9

    def run(self, planned: Planned) -> tuple[TrialOutcome, tuple[EpochReport, ...]]:
        """How a trial ends, and its epochs."""
        setting, budget = planned.setting, planned.budget or Budget(EPOCHS)
        off = 1.0 if setting.learning_rate is None else setting.learning_rate / self.best_rate_at(setting.batch_size)
        if setting.batch_size > self.memory:
            return TrialOutcome("t", Status.OUT_OF_MEMORY), ()
        if off > self.diverges_above:
            return TrialOutcome("t", Status.DIVERGED), ()
        epochs = []
        for epoch in range(1, budget.epochs + 1):
            score = -math.expm1(-epoch * N_TRAIN / self.examples(setting.batch_size, off, planned.seed))
            updates = epoch * N_TRAIN // setting.batch_size
            epochs.append(EpochReport("t", epoch, epoch * N_TRAIN, updates, {"val_accuracy": score}, 0.0))
            goal = budget.goal
            if goal and epoch >= goal.least_epochs and goal.is_reached(epochs[-1].metrics):
                break
        return TrialOutcome("t", Status.COMPLETED, examples_per_second=1e4), tuple(epochs)

    def best_rate_at(self, batch_size: int) -> float:
        """The best learning rate."""
        return self.best_rate * math.sqrt(batch_size / 64)

    def examples(self, batch_size: int, off: float, seed: int) -> float:
        """E, with the seed's luck, which is the same for all batch sizes but for a little."""
        generator = np.random.default_rng([seed, batch_size])
        luck = self.noise * (np.random.default_rng(seed).normal() + 0.3 * generator.normal())
        return 3000 * (1 + batch_size / self.critical) * math.exp(0.5 * math.log(off) ** 2 + luck)


def question(**changes: object) -> Question:
    values: dict[str, object] = {"objective": "val_accuracy", "maximize": True, "epochs": EPOCHS, "n_train": N_TRAIN}
    return Question(**{**values, **changes})


def space(batch_size: BatchSize | None = None, rate: LearningRate | None = LearningRate()) -> SearchSpace:
    return SearchSpace(batch_size or BatchSize(1, 1024), rate, optimizer="Adam", model_rate=0.001)


def plan(batch_size: BatchSize | None = None, *, all_sizes: bool = False, **asked: object) -> StagedPlan:
    """A plan that knows its machine and its noise."""
    found = StagedPlan(space(batch_size), question(**asked), all_sizes=all_sizes)
    found.learn(machine=MachineFacts(None, TIMINGS, TIMINGS), noise=NoiseFacts(100.0))
    return found


def ended(planned: Planned, trainer: Trainer, number: int) -> TrialRecord:
    """The record of a planned trial that the trainer ran."""
    outcome, epochs = trainer.run(planned)
    score = epochs[-1].metrics["val_accuracy"] if epochs else None
    return dataclasses.replace(started(planned, number), outcome=outcome, epochs=epochs, score=score)


def started(planned: Planned, number: int) -> TrialRecord:
    """The record of a planned trial that runs."""
    return TrialRecord(f"{number:04d}", number, planned.setting, planned.seed, planned.stage, budget=planned.budget)


def decide(staged: StagedPlan, records: list[TrialRecord]) -> Planned | Pause:
    """What an oracle would start: what is owed first."""
    return owed(records) or staged.decide(records)


def run_out(
    staged: StagedPlan,
    trainer: Trainer,
    records: list[TrialRecord] | None = None,
    after: Callable[[list[TrialRecord]], None] = lambda _: None,
) -> list[TrialRecord]:
    """Run a plan to its end, one trial at a time."""
    records = list(records or ())
    while isinstance(planned := decide(staged, records), Planned):
        assert len(records) < 200
        records.append(ended(planned, trainer, len(records)))
        after(records)
    assert planned is Pause.DONE
    return records


def settings_of(records: list[TrialRecord], stage: str) -> list[Setting]:
    return [record.setting for record in records if record.stage == stage]
