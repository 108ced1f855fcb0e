"""Timing the user's loop at the end of a search, at each batch size that has a score."""

from __future__ import annotations

from tuning.machine.machine import Machine
from tuning.machine.user_seconds import Tried, rates_of_user, user_threads, with_user_seconds
from tuning.record.tracker import Tracker
from tuning.run.asking import first_device
from tuning.run.executor import Executor
from tuning.run.of_kind import has_left, of_kind
from tuning.search.options import SearchOptions
from tuning.search.preparation import Setup, how_made
from tuning.stats.arms import Arm, group_into_arms
from tuning.study.study import Study


def time_sizes(
    study: Study,
    setup: Setup,
    options: SearchOptions,
    target: float | None,
    executor: Executor,
    tracker: Tracker | None = None,
) -> dict[int, float] | None:
    """Time the user's loop on the kind of device that the study measures, and return examples per second by batch size.

    It is None where no trial could tell its own, as of a loop of the user's, and where no device of the kind is left.

    Args:
        study: What is timed is kept with it.
        setup: What was trained.
        options: How the search ran.
        target: The score to reach.
        executor: Idle.
        tracker: Shows what was measured; None to show nothing.
    """
    target = target if options.target is None else options.target
    ended = [trial for trial in study.records if trial.outcome is not None]
    judged = [arm for arm in group_into_arms(ended, objective=study.objective, target=target) if arm.scores]
    if not any(trial.examples_per_second for arm in judged for trial in arm.trials):
        return None
    before = study.records.machine
    if not has_left(executor, study.device_kind):
        machine = _timed(before, of_kind(executor, study.device_kind), judged, setup, options)
        if machine != before and machine.throughput is not None:
            study.measured(machine)
            if tracker is not None:
                tracker.measured(machine.throughput.measurement)
    return rates_of_user(study.records.machine, [arm.batch_size for arm in judged])


def _timed(machine: Machine, executor: Executor, judged: list[Arm], setup: Setup, options: SearchOptions) -> Machine:
    return with_user_seconds(
        machine,
        executor,
        [_tried(arm, machine, first_device(executor).cores) for arm in judged],
        loop=options.loop,
        epochs=setup.arguments.epochs,
        evaluation_batch_size=setup.arguments.evaluation_batch_size,
        times_input=bool(how_made(setup.arguments.data)),
        anew=bool(setup.space.entries),
    )


def _tried(arm: Arm, machine: Machine, cores: int) -> Tried:
    outcomes = (trial.outcome for trial in arm.trials if trial.scored)
    threads = next((outcome.settings.get("intra_op_threads") for outcome in outcomes if outcome is not None), None)
    return Tried(arm.batch_size, dict(arm.hyperparameters), user_threads(machine, arm.batch_size, threads, cores))
