"""TrialRequests: what a worker is asked for each trial of a search."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tuning.machine.thread_choice import ThreadChoice, choose_threads, could_pay
from tuning.record.layout import PROBE
from tuning.record.tracker import Tracker
from tuning.run.executor import Executor
from tuning.search.options import SearchArguments
from tuning.study.checkpoints import KeptModels
from tuning.study.oracle import OptunaOracle
from tuning.study.records import Budget, TrialRecord
from tuning.trial import Status, TrialOutcome, TrialRequest


class TrialRequests:
    """Makes the request that runs a trial.

    Args:
        oracle: Knows what earlier trials have found out.
        arguments: Of the search.
        loop: What was asked for; "auto" is asked of a worker once for each compiled program.
        kept: Where weights are saved.
        betas_at: The batch size from which the optimizer's decay constants follow; None leaves them alone.
        threads: Of the CPU for a batch size, None for a worker's own.
        trainings: Planned for each batch size, on average.
    """

    def __init__(
        self,
        oracle: OptunaOracle,
        arguments: SearchArguments,
        *,
        loop: str,
        kept: KeptModels,
        betas_at: int | None = None,
        threads: Callable[[int], int | None] = lambda _: None,
        trainings: int = 1,
    ) -> None:
        self._oracle = oracle
        self._arguments = arguments
        self._loop = loop
        self._kept = kept
        self._betas_at = betas_at
        self._threads = threads
        self._trainings = trainings

    def make(self, record: TrialRecord) -> TrialRequest:
        """The request for a trial that is about to start."""
        budget = record.budget or Budget(self._arguments.epochs)
        return TrialRequest(
            record.trial_id,
            batch_size=record.setting.batch_size,
            seed=record.seed,
            epochs=budget.epochs,
            learning_rate=record.setting.learning_rate,
            hyperparameters=dict(record.setting.hyperparameters),
            loop=self._loop_for(record),
            evaluation_batch_size=self._arguments.evaluation_batch_size,
            weights_path=self._kept.path_to_save(record.trial_id),
            goal=budget.goal,
            betas_at=self._betas_at,
            threads=self._threads(record.setting.batch_size),
            trainings=self._trainings,
        )

    def _loop_for(self, record: TrialRecord) -> str:
        """What was asked for, or what another seed or learning rate of the same program has already chosen."""
        setting = record.setting
        chosen = (
            other.outcome.loop
            for other in self._oracle.records
            if other.outcome is not None
            and other.outcome.loop
            and other.setting.batch_size == setting.batch_size
            and other.setting.hyperparameters == setting.hyperparameters
        )
        return next(chosen, "auto") if self._loop == "auto" else self._loop


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
