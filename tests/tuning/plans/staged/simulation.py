"""A trainer in closed form, and staged searches run on it without Optuna, workers or time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from study_helpers import add, records_of

from search_spaces import BatchSize, LearningRate, SearchSpace, Setting
from tuning.machine.machine import Machine
from tuning.machine.noise import GradientNoise
from tuning.machine.throughput import Measured, ThroughputFindings
from tuning.messages import Throughput
from tuning.noise_messages import NoiseScalePoint
from tuning.objective import Objective
from tuning.plans.plan import Decision, MeasureNoise, Pause, TimeUpdates
from tuning.plans.staged.plan import StagedPlan
from tuning.plans.staged.reference import Reference
from tuning.plans.staged.stages import reference_of, searched_sizes
from tuning.plans.staged.state import StagedState, StudyGoal
from tuning.stats.target import Timings
from tuning.study.records import Records
from tuning.trial import EpochReport, Status, Trial, TrialOutcome

N_TRAIN, EPOCHS = 1000, 10
T0, PER_EXAMPLE = 1e-3, 1e-5
MACHINE_SIZES = (1, 4, 16, 64, 256, 1024)
TIMINGS = Timings({size: T0 + PER_EXAMPLE * size for size in MACHINE_SIZES})


def timed(timings: Timings = TIMINGS) -> ThroughputFindings:
    """Timings of plain Keras and of the trials' loop, which are the same here."""
    rows = (
        Measured(series, Throughput("t", size, "keras", seconds))
        for series in ("keras", "chosen")
        for size, seconds in timings.seconds_per_update.items()
    )
    return ThroughputFindings(tuple(rows), {})


def noise(value: float | None = 100.0, *, at_least: float | None = None, reason: str = "") -> GradientNoise:
    """A noise scale that was measured at one moment; without a value only bounded, or not measured at all."""
    if value is None and at_least is None:
        return GradientNoise(reason=reason)
    return GradientNoise((NoiseScalePoint(0, value, value or at_least, value, 1.0, 1.0),), reason)


MACHINE = Machine(memory_is_known=True, throughput=timed(), noise=noise())


@dataclass(frozen=True)
class Trainer:
    """Scores 1 - exp(-examples/E), where E follows the law of updates and grows with the distance of the learning rate
    from `best_rate * sqrt(B/64)`.

    Args:
        best_rate: The best learning rate at batch size 64.
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

    def run(self, trial: Trial) -> Trial:
        """The trial as it is once it has ended."""
        setting, budget = trial.setting, trial.budget
        off = 1.0 if setting.learning_rate is None else setting.learning_rate / self.best_rate_at(setting.batch_size)
        if setting.batch_size > self.memory:
            return replace(trial, outcome=TrialOutcome(trial.trial_id, Status.OUT_OF_MEMORY))
        if off > self.diverges_above:
            return replace(trial, outcome=TrialOutcome(trial.trial_id, Status.DIVERGED))
        reports = []
        for epoch in range(1, budget.epochs + 1):
            score = -math.expm1(-epoch * N_TRAIN / self.examples(setting.batch_size, off, trial.seed))
            updates = epoch * N_TRAIN // setting.batch_size
            reports.append(EpochReport(trial.trial_id, epoch, epoch * N_TRAIN, updates, {"val_accuracy": score}, 0.0))
            goal = budget.goal
            if goal and epoch >= goal.least_epochs and goal.is_reached(reports[-1].metrics):
                break
        outcome = TrialOutcome(trial.trial_id, Status.COMPLETED, examples_per_second=1e4)
        return replace(trial, outcome=outcome, reports=tuple(reports), score=reports[-1].metrics["val_accuracy"])

    def best_rate_at(self, batch_size: int) -> float:
        """The best learning rate."""
        return self.best_rate * math.sqrt(batch_size / 64)

    def examples(self, batch_size: int, off: float, seed: int) -> float:
        """E, with the seed's luck, which is the same for all batch sizes but for a little."""
        generator = np.random.default_rng([seed, batch_size])
        luck = self.noise * (np.random.default_rng(seed).normal() + 0.3 * generator.normal())
        return 3000 * (1 + batch_size / self.critical) * math.exp(0.5 * math.log(off) ** 2 + luck)


def goal(**changes: object) -> StudyGoal:
    values: dict[str, object] = {"objective": Objective("val_accuracy"), "epochs": EPOCHS, "n_train": N_TRAIN}
    return StudyGoal(**{**values, **changes})


def space(batch_size: BatchSize | None = None, rate: LearningRate | None = LearningRate()) -> SearchSpace:
    return SearchSpace(batch_size or BatchSize(1, 1024), rate, optimizer="Adam", model_rate=0.001)


def plan(
    batch_size: BatchSize | None = None,
    *,
    all_sizes: bool = False,
    shares_out: bool = False,
    halves: bool = True,
    **asked: object,
) -> StagedPlan:
    return StagedPlan(space(batch_size), goal(**asked), all_sizes=all_sizes, shares_out=shares_out, halves=halves)


def state_of(records: Records, batch_size: BatchSize | None = None, **asked: object) -> StagedState:
    return StagedState(space(batch_size), goal(**asked), records.machine, tuple(records))


def reference_in(records: Records, **asked: object) -> Reference:
    found = reference_of(state_of(records, **asked))
    assert found is not None
    return found


def sizes_in(records: Records) -> tuple[int, ...]:
    return searched_sizes(state_of(records), reference_in(records), all_sizes=False)


def decide(staged: StagedPlan, records: Records) -> Decision:
    """What a search would start: what runs again first; what is to be measured is measured."""
    decision = records.interrupted_to_rerun() or staged.next(records)
    if isinstance(decision, MeasureNoise):
        records.machine = replace(records.machine, noise=noise())
        return decide(staged, records)
    if isinstance(decision, TimeUpdates):
        name = "throughput_again" if decision.again else "throughput"
        records.machine = replace(records.machine, **{name: timed()})
        return decide(staged, records)
    return decision


def run_out(
    staged: StagedPlan,
    trainer: Trainer,
    records: Records | None = None,
    after: Callable[[Records], None] = lambda _: None,
) -> Records:
    """Run a plan to its end, one trial at a time."""
    records = records_of(machine=MACHINE) if records is None else records
    while isinstance(planned := decide(staged, records), Trial):
        assert len(records) < 200
        records.put(trainer.run(add(records, planned)))
        after(records)
    assert planned is Pause.DONE
    return records


def settings_of(records: Records, stage: str) -> list[Setting]:
    return [trial.setting for trial in records if trial.stage == stage]
