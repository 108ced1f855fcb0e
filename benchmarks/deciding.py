"""What deciding on a next trial costs as a study grows: a plan's answer and halving's, at 100 and at 10,000 trials.

    python benchmarks/deciding.py

Trials are settled by hand, so that nothing is timed but the decision itself, together with taking in the trial that
ended since the last one. A plan that walks through all that is settled takes a hundred times as long at 10,000.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace

from search_spaces import BatchSize, LearningRate, SearchSpace
from tuning.instructions import Budget
from tuning.loops.loop import KERAS
from tuning.machine.machine import Machine
from tuning.machine.noise import GradientNoise
from tuning.machine.throughput import CHOSEN, Measured, ThroughputFindings
from tuning.messages import Throughput
from tuning.noise_messages import NoiseScalePoint
from tuning.objective import Objective
from tuning.plans.bayes import BayesianBudget, BayesianPlan
from tuning.plans.halving import Halving
from tuning.plans.plan import GridPlan, Plan
from tuning.plans.samplers import make_sampler
from tuning.plans.staged.plan import StagedPlan
from tuning.plans.staged.state import StudyGoal
from tuning.study.records import Records
from tuning.trial import EpochReport, Status, Trial, TrialOutcome

OBJECTIVE = Objective("val_accuracy", "max")
N_TRAIN, EPOCHS, DECISIONS = 1000, 5, 50


def space_of(n_sizes: int) -> SearchSpace:
    """Return a space with one setting per batch size."""
    return SearchSpace(BatchSize.of(*range(1, n_sizes + 1)), LearningRate(), model_rate=0.001)


def grid(n_planned: int) -> Plan:
    """Return a grid of so many trials."""
    return GridPlan(space_of(n_planned), 1, budget=Budget(EPOCHS))


def bayes(n_planned: int) -> Plan:
    """Return a Bayesian plan whose proposals are random: it times the plan, not a Gaussian process."""
    return BayesianPlan(
        space_of(4 * n_planned),
        budget=BayesianBudget(n_planned, 1, Budget(EPOCHS)),
        objective=OBJECTIVE,
        make_sampler=lambda encoding, is_acceptable: make_sampler(
            "random", encoding, is_acceptable, budget=n_planned, objective=OBJECTIVE, seed=0
        ),
    )


def tune(n_planned: int) -> Plan:
    """Return a staged plan that searches so many batch sizes, each at one learning rate."""
    space = SearchSpace(
        BatchSize.of(*range(1, n_planned + 1)), LearningRate.choices(0.001), optimizer="Adam", model_rate=0.001
    )
    return StagedPlan(space, StudyGoal(OBJECTIVE, EPOCHS, N_TRAIN), all_sizes=True)


def known_machine() -> Machine:
    """Return a machine on which everything has been measured that a staged plan asks for."""
    rows = tuple(
        Measured(series, Throughput("t", size, KERAS, 1e-3 + 1e-5 * size))
        for series in (KERAS, CHOSEN)
        for size in (1, 4, 16, 64, 256, 1024)
    )
    noise = GradientNoise((NoiseScalePoint(0, 100.0, 90.0, 110.0, 1.0, 1.0),))
    return Machine(memory_is_known=True, throughput=ThroughputFindings(rows, {}), noise=noise)


def settle(records: Records, planned: Trial, number: int) -> Trial:
    """Put a trial into the records that has been trained to its end."""
    trial_id = f"{number:05d}"
    reports = tuple(
        EpochReport(trial_id, epoch, N_TRAIN * epoch, 10 * epoch, {"val_accuracy": 0.5}, 0.1 * epoch)
        for epoch in range(1, EPOCHS + 1)
    )
    outcome = TrialOutcome(trial_id, Status.COMPLETED, seconds=1.0)
    trial = replace(planned, trial_id=trial_id, reports=reports, outcome=outcome, score=0.5)
    records.put(trial)
    return trial


def milliseconds_per_decision(plan: Plan, n_settled: int) -> float:
    """Return the median time of a decision once so many trials are settled."""
    halving, records = Halving(OBJECTIVE, n_train=N_TRAIN), Records(machine=known_machine())
    times: list[float] = []
    for number in range(n_settled + DECISIONS):
        begin = time.perf_counter()
        planned = plan.next(records)
        assert isinstance(planned, Trial)
        halving.should_stop(planned, records)
        halving.starved(records)
        times.append(time.perf_counter() - begin)
        settle(records, planned, number)
    return 1000 * statistics.median(times[-DECISIONS:])


def main() -> None:
    """Print a line for each kind of plan."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--few", type=int, default=100)
    parser.add_argument("--many", type=int, default=10_000)
    asked = parser.parse_args()
    print(f"plan    ms at {asked.few:,}   ms at {asked.many:,}   ratio (goal: at most 2)")
    for name, make_plan in (("grid", grid), ("bayes", bayes), ("tune", tune)):
        n_planned = asked.many + 2 * DECISIONS  # the same for both, since a larger space costs more at any time
        few, many = (milliseconds_per_decision(make_plan(n_planned), n) for n in (asked.few, asked.many))
        print(f"{name:6s}{few:12.3f}{many:15.3f}{many / few:8.2f}", flush=True)


if __name__ == "__main__":
    main()
