"""The CPU threads of a study's batch sizes: chosen once, kept with the study, shown in MLflow."""

from __future__ import annotations

from collections.abc import Mapping

from tuning.execution.executor import Executor
from tuning.probing.search_threads import choose_threads, could_pay
from tuning.probing.thread_choice import ThreadChoice
from tuning.search_arguments import SearchArguments
from tuning.studies.oracle import OptunaOracle
from tuning.tracking.layout import PROBE
from tuning.tracking.tracker import Tracker
from tuning.trial import Status, TrialOutcome

_THREADS = "threads"
_TRIAL_ID = "probe-threads"


def threads_of_study(
    oracle: OptunaOracle,
    executor: Executor,
    tracker: Tracker,
    updates: Mapping[int, float],
    *,
    loop: str,
    arguments: SearchArguments,
    may_choose: bool = True,
) -> ThreadChoice:
    """What the study keeps, else what is chosen now; a study that began without a choice goes on so.

    Workers that its trials do not need are ended.

    Args:
        oracle: Of the open study.
        executor: Idle.
        tracker: Shows what the choice was made by, as a run of stage "probe".
        updates: Of all the search's trials, by batch size, ascending.
        loop: Of the trials.
        arguments: Of the search.
        may_choose: Whether a choice may be made now, which takes a second worker.
    """
    known = oracle.recall(_THREADS)
    choice = ThreadChoice.from_json(known or {})
    if known is None and may_choose and not oracle.records and could_pay(executor, updates):
        choice = choose_threads(executor, updates, loop=loop, arguments=arguments)
        oracle.remember(_THREADS, choice.to_json())
        if choice.seconds:
            tracker.start_trial(_TRIAL_ID, {}, PROBE)
            tracker.end_trial(TrialOutcome(_TRIAL_ID, Status.COMPLETED, measurements=choice.measurements))
    executor.provide({choice.threads(size) for size in updates})
    return choice
