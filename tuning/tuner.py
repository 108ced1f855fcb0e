"""BatchSizeTuner: what the three tuners share, between `keras_tuner.Tuner` and them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import keras_tuner

from search_spaces.batch_size import BatchSize
from search_spaces.learning_rate import LearningRate
from search_spaces.scaling import Scaling
from search_spaces.workload import check_kinds
from tuning.built import ScaledHyperModel
from tuning.finished import open_recorded
from tuning.instructions import Instructions
from tuning.oracle import StudyOracle
from tuning.record.tracker import Tracker
from tuning.run.executor import Executor
from tuning.search.answering import recommend_from_study
from tuning.search.assistant import weights_file
from tuning.search.limits import check_study_name
from tuning.search.method import Method
from tuning.search.options import (
    LOCAL,
    SearchArguments,
    SearchOptions,
    read_options,
    read_search_arguments,
)
from tuning.search.search import SCALING, Search
from tuning.search.wishes import Wishes
from tuning.search.workers import running_executor
from tuning.show.answer import Answer
from tuning.stats.recommendation import Recommendation
from tuning.study.claim import refuse_if_run
from tuning.study.study import Study


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
        seeds: Trainings per setting; the same seeds for every batch size. "auto": see `GridSearch`.
        hyperparameters: Entries that override those of the build function.
        tune_new_entries: Whether entries of the build function that are not in `hyperparameters` are searched.
        allow_new_entries: Whether the build function may declare such entries.
        directory: Where studies keep their records.
        project_name: Name of the study; the same name continues it.
        overwrite: Start over; what an earlier study of this name recorded is set aside.
        tracker: Where trials are shown; None for MLflow at `tracking_uri`.
        options: How the search runs; or its fields as keyword arguments.
        more_options: Fields of `SearchOptions`; and `executions_per_trial`, KerasTuner's name for `seeds`.

    Raises:
        TypeError: If an option is unknown, or an argument of another type.
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
        seeds: int | str = 3,
        hyperparameters: Any = None,
        tune_new_entries: bool = True,
        allow_new_entries: bool = True,
        directory: str | Path | None = None,
        project_name: str | None = None,
        overwrite: bool = False,
        tracker: Tracker | None = None,
        options: SearchOptions | None = None,
        **more_options: Any,
    ) -> None:
        if not callable(hypermodel) and not hasattr(hypermodel, "build"):
            raise TypeError(f"hypermodel must be build_model(hp) or a keras_tuner.HyperModel; got {hypermodel!r:.80}.")
        seeds = more_options.pop("executions_per_trial", seeds)
        check_kinds(batch_size=batch_size, learning_rate=learning_rate)
        self._wishes = Wishes.read(objective, batch_size, learning_rate, seeds)
        self.max_trials, self.batch_size, self.learning_rate = max_trials, batch_size, learning_rate
        self.seeds, self.options = self._wishes.seeds, options or read_options(more_options)
        self._given_hypermodel, self._tracker = hypermodel, tracker
        self._method = self.method()
        self._answers: list[Answer] = []
        self._overwrite = overwrite
        built_by = getattr(hypermodel, "__name__", type(hypermodel).__name__)
        name = project_name or f"{built_by}-{self._method.kind}"
        check_study_name(name)
        super().__init__(
            StudyOracle(
                Study(name),
                objective=self._wishes.objective,
                hyperparameters=hyperparameters,
                tune_new_entries=tune_new_entries,
                allow_new_entries=allow_new_entries,
            ),
            ScaledHyperModel(hypermodel, self._built_for),
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
        if self.options.engine != LOCAL:  # a driver that runs the study may hold all devices of the cluster
            refuse_if_run(Path(self.project_dir), self.options.storage, self.oracle.study.name)
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
            tracker=self._tracker,
            directory=Path(self.project_dir),
            hyperparameters=self.oracle,
        )
        fresh = self._overwrite and not self.oracle.study.is_open  # once, not whenever this tuner goes on
        self._answers.append(search.run(arguments, executor, fresh=fresh))

    def recommend(self, **rule: Any) -> Recommendation:
        """Recommend a batch size from the trials so far.

        Args:
            rule: `rule`, `tolerance`, `target`, `cost`: override the tuner's options; see
                `stats.recommendation.recommend`.

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

    def reload(self) -> None:
        """Read what an earlier search of this name recorded, without searching.

        Raises:
            StudyError: If there is no such study, or a search is running it.
        """
        open_recorded(self.oracle.study, Path(self.project_dir), self.options.storage)

    def build_recommended(self, **rule: Any) -> Any:
        """Return a new model with the recommended learning rate, schedule, decay and hyperparameters, compiled.

        Train it with `batch_size=tuner.recommend().batch_size`.

        Args:
            rule: As `recommend` takes it.

        Raises:
            NothingToRecommend: If no trial completed.
        """
        found, hp = self.recommend(**rule), self.oracle.get_space()
        hp.values = {**hp.values, **dict(found.hyperparameters), "batch_size": found.batch_size}
        if found.learning_rate is not None:
            hp.values["learning_rate"] = hp.values["lr"] = found.learning_rate
        return self.hypermodel.build(hp)

    def get_best_hyperparameters(self, num_trials: int = 1) -> list[Any]:
        """Return the settings with the best mean scores over their seeds, each once.

        Args:
            num_trials: How many at most.
        """
        best: list[Any] = self.oracle.best_hyperparameters(num_trials)
        return best

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
        if getattr(model, "optimizer", None) is not None:
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

    def _built_for(self) -> Instructions:
        """Tell what followed the batch size in the study."""
        return Instructions(scaling=Scaling(**(self.oracle.study.recall(SCALING) or {})))

    @property
    def _weights(self) -> Path:
        """Where the weights of the best trials are kept."""
        return Path(self.project_dir).resolve() / "weights"

    def _populate_initial_space(self) -> None:
        """KerasTuner would build the model here, in the driver, and take the GPU; a worker builds it instead."""
        hp = self.oracle.get_space()
        self.hypermodel.declare_hyperparameters(hp)
        self.oracle.update_space(hp)
