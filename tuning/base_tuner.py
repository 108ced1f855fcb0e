"""BatchSizeTuner: a `keras_tuner.Tuner` whose trials run in workers, on a plan over an Optuna study."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import keras_tuner
import optuna

from search_spaces.batch_size import BatchSize
from search_spaces.data import leaves
from search_spaces.learning_rate import KERAS_BATCH_SIZE, LearningRate
from search_spaces.space import SearchSpace
from tuning.answering_tuner import AnsweringTuner
from tuning.machine.capped import CappedExecutor
from tuning.machine.memory import as_outcome, limit_of_search, memory_of_search
from tuning.machine.thread_choice import ThreadChoice
from tuning.record.layout import PROBE
from tuning.record.mlflow_tracker import MlflowTracker
from tuning.record.tracker import Tracker
from tuning.run.executor import Executor
from tuning.search.advice import advise
from tuning.search.loop import Deadline, SearchLoop, relog
from tuning.search.options import SearchArguments, SearchOptions, read_options, read_search_arguments
from tuning.search.preparation import describe_model, provenance, resolve_objective, resolve_space, settings_of
from tuning.search.requests import TrialRequests, threads_of_study
from tuning.search.starting import running_executor
from tuning.show.progress import SearchProgress
from tuning.study.halving import Halving
from tuning.study.oracle import OptunaOracle
from tuning.study.plans import Plan
from tuning.study.records import TrialRecord
from tuning.study.samplers import quiet_optuna
from tuning.study.storage import StudyLock, check_settings, journal_of, open_study, set_aside

_MEMORY_ID = "probe-memory"


class BatchSizeTuner(AnsweringTuner, ABC):
    """What both tuners share; use `GridSearch` or `BayesianOptimization`.

    Args:
        hypermodel: `build_model(hp)`, `build_model()` or a `keras_tuner.HyperModel`.
        objective: Name, "name:max", `keras_tuner.Objective`, or None for `val_accuracy`, else `val_loss`. Of a
            list, or of names with commas between them, the first decides; the further ones, names of
            `trade_offs.MEASURES`, add the Pareto set to the answer.
        max_trials: Trials to plan; None for all of a grid, 30 proposals for Bayesian optimisation.
        batch_size: Sizes to try; None for powers of 2 that suit the data.
        learning_rate: How the rate follows; None for the model's own by the optimizer's rule, right at batch size 32.
        seeds: Trainings per setting; the same seeds for every batch size.
        hyperparameters: Entries that override those of the build function.
        tune_new_entries: Whether entries of the build function that are not in `hyperparameters` are searched.
        directory: Where studies keep their records.
        project_name: Name of the study; the same name continues it.
        overwrite: Start over; what an earlier study of this name recorded is set aside.
        tracker: Where trials are shown; None for MLflow at `tracking_uri`.
        options: How the search runs; or its fields as keyword arguments.
        more_options: Fields of `SearchOptions`; and `executions_per_trial`, KerasTuner's name for `seeds`.

    Raises:
        TypeError: If an option is unknown.
        ValueError: If a number is out of its range.
    """

    kind: ClassVar[str]
    prunes: ClassVar[bool] = False
    """Whether trials that are behind are stopped where nobody says otherwise."""
    chooses_threads: ClassVar[bool] = True
    """Whether batch sizes that train faster with one CPU thread do so where nobody says otherwise."""

    def __init__(
        self,
        hypermodel: Any,
        objective: Any = None,
        max_trials: int | None = None,
        *,
        batch_size: BatchSize | None = None,
        learning_rate: LearningRate | None = None,
        seeds: int = 3,
        hyperparameters: Any = None,
        tune_new_entries: bool = True,
        directory: str | Path | None = None,
        project_name: str | None = None,
        overwrite: bool = False,
        tracker: Tracker | None = None,
        options: SearchOptions | None = None,
        **more_options: Any,
    ) -> None:
        seeds = more_options.pop("executions_per_trial", seeds)
        for name, value in (("seeds", seeds), ("max_trials", max_trials)):
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1; got {value}.")
        self.max_trials = max_trials
        self.batch_size, self.learning_rate = batch_size, learning_rate
        self._given_hypermodel, self._fresh, self._tracker = hypermodel, overwrite, tracker
        self._betas_at: int | None = None
        self._deadline = Deadline()
        self._threads = ThreadChoice()
        self._trainings = 1
        quiet_optuna()
        super().__init__(
            OptunaOracle(hyperparameters=hyperparameters, tune_new_entries=tune_new_entries),
            hypermodel,
            objective,
            seeds=seeds,
            options=options or read_options(more_options),
            directory=directory,
            project_name=project_name,
            kind=self.kind,
        )

    def search(self, *fit_args: Any, **fit_kwargs: Any) -> None:
        """Search, or go on with a search of the same name and settings.

        Args:
            fit_args: As `tuning.search.options.read_search_arguments` takes them: `x, y, epochs=...,
                validation_data=(x_val, y_val), callbacks=[...]`.
            fit_kwargs: Likewise.

        Raises:
            ValueError: If an argument, the data, the model or the objective cannot be used; nothing has been written.
            NothingToRecommend: If no trial completed.
            KeyboardInterrupt: On Ctrl-C, after the running trials have been recorded; search again to go on.
        """
        arguments = read_search_arguments(*fit_args, **fit_kwargs)
        with running_executor(self._given_hypermodel, arguments, self.options) as executor:
            self.run(arguments, executor)

    def run(self, arguments: SearchArguments, executor: Executor) -> None:
        """Search on an executor that has been started already; `search` without its preparations.

        Args:
            arguments: What to search on.
            executor: Not shut down here.

        Raises:
            ValueError: As `search`; likewise the others.
        """
        self._deadline = Deadline.after(self.options.timeout_s)
        tracker = self._tracker or MlflowTracker(self.options.tracking_uri)  # refused before anything is written
        space = self._resolve(arguments, executor, meanwhile=tracker.prepare)
        lock = StudyLock(Path(self.project_dir))
        try:
            self._open(arguments, space, tracker)
            within = self._within_memory(arguments, executor, space, tracker)
            self._trainings = self._trainings_per_size(space)
            self._threads = self._threads_of(arguments, within, space, tracker)
            self._run(arguments, within, tracker)
            found = self.recommend()
            advice = advise(executor, found, self.oracle.records, epochs=arguments.epochs)
            self._record_answer(found, advice, tracker)
        finally:
            lock.release()

    def default_batch_size(self, n_train: int) -> BatchSize | None:  # noqa: ARG002  (StagedSearch needs it)
        """Sizes to try where none were asked for; None for the default."""
        return None

    def more_settings(self) -> dict[str, str]:
        """What else makes two searches of this kind the same."""
        return {}

    @abstractmethod
    def make_plan(self, space: SearchSpace) -> Plan:
        """What the study tries."""

    @abstractmethod
    def make_sampler(self, space: SearchSpace) -> optuna.samplers.BaseSampler | None:
        """What proposes; None for a queue."""

    def _resolve(self, arguments: SearchArguments, executor: Executor, meanwhile: Callable[[], None]) -> SearchSpace:
        description = describe_model(executor, self.oracle.get_space().get_config(), meanwhile)
        self._description = description
        self._input_shape = (None, *next(leaves(arguments.data.x_train)).shape[1:])
        self.oracle.update_space(keras_tuner.HyperParameters.from_config(description.hyperparameters))
        self.oracle.objective = resolve_objective(self.asked_objective, description)
        return resolve_space(
            description,
            self.oracle.get_space(),
            batch_size=self.batch_size or self.default_batch_size(arguments.data.n_train),
            learning_rate=self.learning_rate,
            n_train=arguments.data.n_train,
        )

    def _open(self, arguments: SearchArguments, space: SearchSpace, tracker: Tracker) -> None:
        assert self._description is not None
        name, objective = self.project_name, self.oracle.objective
        settings = settings_of(
            self.kind, space, self._description, objective, arguments, seeds=self.seeds, loop=self.options.loop
        )
        if self.options.scale_betas:
            self._betas_at = space.learning_rate.at_batch_size if space.learning_rate else KERAS_BATCH_SIZE
            settings["decay_constants"] = f"right at batch size {self._betas_at}, half-lives constant in examples"
        settings |= self.more_settings()
        storage = journal_of(Path(self.project_dir), self.options.storage)
        if self._fresh:
            set_aside(storage, name)
            tracker.fresh(name)
            self._fresh = False
        check_settings(storage, name, settings)
        self._settings = {**settings, "notes": "\n".join(self._notes()), **provenance()}
        tracker.start_study(name, self._settings)
        sampler = self.make_sampler(space)
        study = open_study(storage, name, maximize=self.oracle.maximize, settings=settings, sampler=sampler)
        self.oracle.open(study, self.make_plan(space), self._halving(arguments))
        relog(self.oracle, tracker, epochs=arguments.epochs)

    def _halving(self, arguments: SearchArguments) -> Halving | None:
        """What stops trials, if anything does."""
        asked = self.options.prune
        if not (self.prunes if asked is None else asked):
            return None
        name, maximize = self.oracle.objective.name, self.oracle.maximize
        return Halving(name, maximize=maximize, epochs=arguments.epochs, n_train=arguments.data.n_train)

    def _within_memory(
        self, arguments: SearchArguments, executor: Executor, space: SearchSpace, tracker: Tracker
    ) -> Executor:
        """The executor, around it a cap at the largest batch size that fits where that is worth asking.

        A model with hyperparameters of its own may need more or less memory from setting to setting; it is not capped.
        """
        if not self.options.probe or self.options.in_process or space.entries or self._description is None:
            return executor
        memory = memory_of_search(
            executor,
            limit_of_search(executor, self.options.memory_limit_bytes),
            sizes=space.batch_size.values(),
            data=arguments.data,
            description=self._description,
            evaluation_batch_size=arguments.evaluation_batch_size,
        )
        if memory is None:
            return executor
        tracker.start_trial(_MEMORY_ID, {"batch_size": memory.largest_batch_size}, PROBE)
        tracker.end_trial(as_outcome(_MEMORY_ID, memory))
        self._largest_fitting = memory.largest_batch_size
        return CappedExecutor(executor, memory, accumulate=self.options.accumulate)

    def _trainings_per_size(self, space: SearchSpace) -> int:
        """How many trainings the plan has for each batch size, on average, as far as can be said now."""
        planned: int = self.oracle.plan.total(self.oracle.records)
        return max(1, round(planned / len(space.batch_size.values())))

    def _threads_of(
        self, arguments: SearchArguments, executor: Executor, space: SearchSpace, tracker: Tracker
    ) -> ThreadChoice:
        """The CPU threads of each batch size; all where memory is short, since a choice takes a second worker."""
        if self.options.threads is not None:
            return ThreadChoice()
        sizes = space.batch_size.values()
        examples = self._trainings * arguments.epochs * arguments.data.n_train
        return threads_of_study(
            self.oracle,
            executor,
            tracker,
            {size: examples / size for size in sizes},
            loop=self.options.loop,
            arguments=arguments,
            may_choose=self.chooses_threads and self._largest_fitting is None,
        )

    def _run(self, arguments: SearchArguments, executor: Executor, tracker: Tracker) -> None:
        requests = TrialRequests(
            self.oracle,
            arguments,
            loop=self.options.loop,
            kept=self._kept,
            betas_at=self._betas_at,
            threads=self._threads.threads,
            trainings=self._trainings,
        )
        with SearchProgress(
            self.oracle.plan.total(self.oracle.records),
            self.oracle.records,
            objective=self.oracle.objective.name,
            maximize=self.oracle.maximize,
            epochs=arguments.epochs,
            quiet=self.options.quiet or not arguments.verbose,
        ) as display:
            SearchLoop(
                self.oracle,
                executor,
                tracker,
                display,
                request_of=requests.make,
                after_trial=lambda record: self._after_trial(record, display),
                deadline=self._deadline,
            ).run()

    def _after_trial(self, _: TrialRecord, display: SearchProgress) -> None:
        """Say how much is ahead, and keep what is best so far and what is being written."""
        display.expect(self.oracle.plan.total(self.oracle.records))
        running = {record.trial_id for record in self.oracle.records if record.outcome is None}
        best = {trial.trial_id for trial in self.oracle.get_best_trials(self._kept.limit)}
        self._kept.keep(best | running)
