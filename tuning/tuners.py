"""GridSearch, BayesianOptimization and StagedSearch: `keras_tuner.Tuner`s that search batch sizes."""

from __future__ import annotations

import functools
import inspect
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import keras_tuner
import optuna

from search_spaces.batch_size import BatchSize
from search_spaces.learning_rate import LearningRate
from tuning.loops.loop import AUTO, KERAS
from tuning.machine.machine import Machine
from tuning.oracle import StudyOracle
from tuning.plans.bayes import BayesianBudget, BayesianPlan
from tuning.plans.plan import GridPlan, Plan
from tuning.plans.samplers import check_sampler, make_sampler
from tuning.plans.staged.plan import StagedPlan
from tuning.plans.staged.state import StudyGoal
from tuning.record.mlflow_tracker import MlflowTracker
from tuning.record.tracker import Tracker
from tuning.run.executor import Executor
from tuning.search.answering import recommend_from_study
from tuning.search.assistant import weights_file
from tuning.search.options import SearchArguments, SearchOptions, read_options, read_search_arguments
from tuning.search.preparation import Setup, running_executor
from tuning.search.search import Method, Search, Wishes
from tuning.show.answer import Answer
from tuning.stats.forecast import candidate_sizes
from tuning.stats.recommendation import Recommendation
from tuning.stats.trade_offs import split_objectives
from tuning.study.study import Study
from tuning.trial import Budget

_PROPOSALS = 30


class BatchSizeTuner(keras_tuner.Tuner, ABC):
    """What the three tuners share. The driver never builds a model, which would take the GPU; workers do.

    Args:
        hypermodel: `build_model(hp)`, `build_model()` or a `keras_tuner.HyperModel`.
        objective: A name, "name:max", a `keras_tuner.Objective`, or None for `val_accuracy`, else `val_loss`. Of a
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
        asked, further = split_objectives(objective)
        self.max_trials, self.batch_size, self.learning_rate = max_trials, batch_size, learning_rate
        self.seeds, self.options = seeds, options or read_options(more_options)
        self._wishes = Wishes(asked, tuple(further), batch_size, learning_rate, seeds)
        self._given_hypermodel, self._tracker = hypermodel, tracker
        self._method = self.method()
        self._answers: list[Answer] = []
        self._overwrite = overwrite
        built_by = getattr(hypermodel, "__name__", type(hypermodel).__name__)
        name = project_name or f"{built_by}-{self._method.kind}"
        super().__init__(
            StudyOracle(Study(name), hyperparameters=hyperparameters, tune_new_entries=tune_new_entries),
            _accepting_hp(hypermodel),
            directory=str(directory or "."),
            project_name=name,
        )

    @abstractmethod
    def method(self) -> Method:
        """Return what tells this kind of search from the others."""

    def search(self, *fit_args: Any, executor: Executor | None = None, **fit_kwargs: Any) -> None:
        """Search, or go on with a search of the same name and settings.

        Args:
            fit_args: As `tuning.search.options.read_search_arguments` takes them: `x, y, epochs=...,
                validation_data=(x_val, y_val), callbacks=[...]`.
            executor: Where trials run, holding the build function and the data already; it is not closed. None for
                workers on the devices of this machine.
            fit_kwargs: Likewise.

        Raises:
            ValueError: If an argument, the data, the model or the objective cannot be used; nothing has been written.
            NothingToRecommend: If no trial completed.
            KeyboardInterrupt: On Ctrl-C, after the running trials have been recorded; search again to go on.
        """
        arguments = read_search_arguments(*fit_args, **fit_kwargs)
        if executor is not None:
            return self.run(arguments, executor)
        with running_executor(self._given_hypermodel, arguments, self.options, self._weights) as started:
            return self.run(arguments, started)

    def run(self, arguments: SearchArguments, executor: Executor) -> None:
        """Search on an executor that has been started already; `search` without its preparations.

        Args:
            arguments: What to search on.
            executor: Not closed here, but on Ctrl-C.

        Raises:
            ValueError: As `search`; likewise the others.
        """
        search = Search(
            self.oracle.study,
            self._method,
            self._wishes,
            options=self.options,
            tracker=self._tracker or MlflowTracker(self.options.tracking_uri),  # refused before anything is written
            directory=Path(self.project_dir),
            hyperparameters=self.oracle,
        )
        fresh = self._overwrite and not self.oracle.study.is_open  # once, not whenever this tuner goes on
        self._answers.append(search.run(arguments, executor, fresh=fresh))

    def recommend(self, **rule: Any) -> Recommendation:
        """Recommend a batch size from the trials so far.

        Args:
            rule: `rule`, `tolerance`, `target`: override the tuner's options; see `stats.recommendation.recommend`.

        Raises:
            NothingToRecommend: If no trial completed.
        """
        return recommend_from_study(self.oracle.study, self.options, self.seeds, **rule)

    @property
    def answer(self) -> Answer:
        """The recommendation with which the last search ended, and where its trials are.

        Raises:
            ValueError: If nothing has been searched yet.
        """
        if not self._answers:
            raise ValueError("There is no answer yet; call search() first.")
        return self._answers[-1]

    @property
    def project_dir(self) -> str:
        """The study's directory; KerasTuner would create it on the first look."""
        return str(Path(self.directory) / self.project_name)

    def load_model(self, trial: Any) -> Any:
        """Return the model of a trial with its final weights; KerasTuner's `get_best_models` calls this.

        Raises:
            ValueError: If the weights were not kept.
        """
        path = weights_file(self._weights, trial.trial_id)
        if not path.exists():
            kept = f"Only the weights of the best {self.options.keep_models} trials are kept; trial {trial.trial_id}"
            raise ValueError(f"{kept} is not among them. Raise keep_models, or train its hyperparameters again.")
        model = self.hypermodel.build(trial.hyperparameters.copy())
        if not model.built:
            model.build(tuple(self.oracle.study.recall("input_shape")))
        if model.optimizer is not None:
            model.optimizer.build(model.trainable_variables)  # its state is in the file too
        model.load_weights(path)
        return model

    def search_space_summary(self, extended: bool = False) -> None:
        """Print the search space; the build function's part is known once a search has started."""
        print(f"Batch sizes: {self.batch_size or 'powers of 2 that suit the data'}")
        print(f"Learning rate: {self.learning_rate or 'the model’s own, following the batch size'}")
        if not self.oracle.study.is_open:
            print("The model is built in a worker when search() starts; its hyperparameters are listed from then on.")
        super().search_space_summary(extended)

    @property
    def _weights(self) -> Path:
        """Where the weights of the best trials are kept."""
        return Path(self.project_dir).resolve() / "weights"

    def _populate_initial_space(self) -> None:
        """KerasTuner would build the model here, in the driver, and take the GPU; a worker builds it instead."""
        hp = self.oracle.get_space()
        self.hypermodel.declare_hyperparameters(hp)
        self.oracle.update_space(hp)


class GridSearch(BatchSizeTuner):
    """Train every batch size with every seed, and recommend one.

    >>> tuner = GridSearch(build_model, batch_size=BatchSize(8, 512), objective="val_accuracy")  # doctest: +SKIP
    >>> tuner.search(x, y, validation_data=(x_val, y_val), epochs=5)  # doctest: +SKIP
    >>> tuner.recommend().batch_size  # doctest: +SKIP
    """

    def method(self) -> Method:
        def make_plan(setup: Setup, _: Machine) -> Plan:
            budget = Budget(setup.arguments.epochs)
            return GridPlan(setup.space, self.seeds, budget=budget, max_trials=self.max_trials)

        return Method("grid", make_plan)


class BayesianOptimization(BatchSizeTuner):
    """Propose batch sizes, learning rates and hyperparameters from what has been seen; confirm the leaders.

    Args:
        sampler: What proposes: "gp", a Gaussian process that knows noise, cost and memory; "tpe", Optuna's default;
            "random"; or an `optuna.samplers.BaseSampler` made for this study.
        start_batch_size: One that "gp" tries early, such as a forecast; the nearest one of the space is taken.
        seed: The seed of the sampler; the further arguments are those of `BatchSizeTuner`.

    Raises:
        TypeError: If the sampler is of another type.
        ValueError: If there is no sampler of this name, or it takes no batch size to start with.
    """

    def __init__(
        self,
        hypermodel: Any,
        objective: Any = None,
        max_trials: int | None = _PROPOSALS,
        *,
        sampler: str | optuna.samplers.BaseSampler = "gp",
        start_batch_size: int | None = None,
        seed: int = 0,
        **rest: Any,
    ) -> None:
        check_sampler(sampler, start_batch_size)
        self.sampler, self.sampler_seed, self.start_batch_size = sampler, seed, start_batch_size
        super().__init__(hypermodel, objective, max_trials, **rest)

    def method(self) -> Method:
        return Method("bayes", self._make_plan)

    def _make_plan(self, setup: Setup, machine: Machine) -> Plan:
        proposals = self.max_trials or _PROPOSALS
        limit = None if self.options.accumulate else machine.largest_batch_size
        return BayesianPlan(
            setup.space,
            budget=BayesianBudget(proposals, self.seeds, Budget(setup.arguments.epochs)),
            objective=setup.objective,
            make_sampler=functools.partial(
                make_sampler,
                self.sampler,
                budget=proposals,
                objective=setup.objective,
                seed=self.sampler_seed,
                largest_fitting=limit,
                start_batch_size=self.start_batch_size,
            ),
            largest_fitting=limit,
        )


class StagedSearch(BatchSizeTuner):
    """Find the batch size that reaches a target soonest, in stages: each decides what the next one tries.

    The machine is timed; learning rates are tuned at a reference batch size, which sets the target; the gradient's
    noise scale there forecasts where to look; batch sizes on both sides of the forecast each seek their own learning
    rate; and each is confirmed on fresh seeds, a close race on more of them. See `StagedPlan`.
    Hyperparameters of the model's own are held at their defaults.

    Args:
        batch_size: Sizes to choose from; a list is tried whole. None for powers of two up to 4096 that leave at least 8
            updates in an epoch.
        seeds: Fresh seeds of each batch size.
        first_seed: The seed of the search; the fresh seeds are those after it. All other arguments are those of
            `BatchSizeTuner`.

    Raises:
        TypeError: If an option is unknown, or `max_trials` is given: the stages decide how many there are.
        ValueError: If a number is out of its range.
    """

    def __init__(self, hypermodel: Any, objective: Any = None, *, first_seed: int = 0, **rest: Any) -> None:
        if "max_trials" in rest:
            raise TypeError("StagedSearch takes no max_trials: its stages decide. Limit it with timeout_s.")
        if first_seed < 0:
            raise ValueError(f"first_seed must be at least 0; got {first_seed}.")
        self.first_seed = first_seed
        super().__init__(hypermodel, objective, **rest)
        if self.options.accumulate:
            raise ValueError("StagedSearch tries no batch size beyond memory, which trains no faster; got accumulate.")

    def method(self) -> Method:
        return Method(
            "tune",
            self._make_plan,
            prunes=True,
            chooses_threads=False,  # it answers for plain fit, which it times with all threads
            default_batch_size=lambda n_train: BatchSize(1, candidate_sizes(n_train)[-1]),
            settings={"first_seed": str(self.first_seed), "target": str(self.options.target)},
        )

    def _make_plan(self, setup: Setup, _: Machine) -> Plan:
        goal = StudyGoal(
            objective=setup.objective,
            epochs=setup.arguments.epochs,
            n_train=setup.n_train,
            seeds=self.seeds,
            first_seed=self.first_seed,
            target=self.options.target,
            rule=self.options.rule,
            tolerance=self.options.tolerance,
        )
        timed = "plain model.fit" if self.options.loop in (AUTO, KERAS) else f"the {self.options.loop!r} loop"
        all_sizes = bool(self.batch_size and self.batch_size.sizes)
        return StagedPlan(setup.space, goal, all_sizes=all_sizes, timed_loop=timed)


def _accepting_hp(hypermodel: Any) -> Any:
    """KerasTuner calls `build(hp)`; a `build_model()` that takes none is as welcome."""
    if hasattr(hypermodel, "build") or not callable(hypermodel) or inspect.signature(hypermodel).parameters:
        return hypermodel
    return lambda _hp: hypermodel()
