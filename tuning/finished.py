"""FinishedStudy: what a search has found, read from its own record, without its data, model or a server."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from search_spaces.scaling import Scaling
from search_spaces.space import Setting
from tuning.instructions import Budget, Instructions
from tuning.objective import Objective
from tuning.search.answering import recommend_from_study
from tuning.search.delivery import open_again
from tuning.search.limits import check_study_name
from tuning.search.options import SearchOptions
from tuning.search.search import SCALING, SOURCE
from tuning.stats.arms import Arm, group_into_arms
from tuning.stats.fresh_seed import scores_after
from tuning.stats.recommendation import Recommendation
from tuning.study.claim import claimed
from tuning.study.storage import StudyError
from tuning.study.study import Study
from tuning.study.view import StudyView, storage_of
from tuning.trial import Trial


class FinishedStudy:
    """A study as it was when it was read.

    Args:
        study: Open, or read without a claim.
        settings: What it was started with, in words.
    """

    def __init__(self, study: Study | StudyView, settings: Mapping[str, str]) -> None:
        self._study, self.settings = study, dict(settings)

    @property
    def name(self) -> str:
        """The study's name."""
        return self._study.name

    @property
    def trials(self) -> tuple[Trial, ...]:
        """Every trial, in the order of their start."""
        return tuple(self._study.records)

    @property
    def objective(self) -> Objective:
        """The metric that decided, and its direction."""
        return self._study.objective

    @property
    def source(self) -> dict[str, Any]:
        """What the command line was given to read the model and its data from; empty if a tuner was searched."""
        return dict(self._study.recall(SOURCE) or {})

    def recommend(self, **rule: Any) -> Recommendation:
        """Recommend a batch size from the trials.

        Args:
            rule: `rule`, `tolerance`, `target`: override those of the search; see `tuning.recommend`.

        Raises:
            NothingToRecommend: If no trial completed.
        """
        return recommend_from_study(self._study, SearchOptions(), int(self.settings.get("seeds", 3)), **rule)

    def final_training(self, found: Recommendation, *, epochs: int | None = None, seed: int | None = None) -> Trial:
        """Return the training of the recommended setting, with all that followed its batch size in the search.

        Args:
            found: From `recommend`.
            epochs: Passes over the training set; None for those of the study.
            seed: None for the first after all seeds of the study, so that no trial was chosen by its luck with it.
        """
        outcomes = (trial.outcome for trial in self._arm(found).trials)
        micro = (outcome.settings.get("micro_batch_size") for outcome in outcomes if outcome is not None)
        return Trial(
            Setting(found.batch_size, found.learning_rate, found.hyperparameters),
            1 + max(trial.seed for trial in self.trials) if seed is None else seed,
            budget=Budget(int(self.settings["epochs"]) if epochs is None else epochs),
            instructions=Instructions(
                evaluation_batch_size=int(self.settings["evaluation_batch_size"]),
                micro_batch_size=next((int(size) for size in micro if size), None),
                scaling=Scaling(**(self._study.recall(SCALING) or {})),
            ),
        )

    def scores_after(self, found: Recommendation, epochs: int) -> dict[int, float]:
        """Return the objective of the recommended setting after so many epochs, by seed; see `stats.fresh_seed`."""
        return scores_after(self._arm(found).trials, epochs, objective=self.objective)

    def _arm(self, found: Recommendation) -> Arm:
        ended = [trial for trial in self.trials if trial.outcome is not None]
        arms = group_into_arms(ended, objective=self.objective, target=found.target)
        return next(arm for arm in arms if arm.batch_size == found.batch_size)


def view_study(name: str, directory: str | Path = ".", *, storage: str | None = None) -> FinishedStudy:
    """Read a study as it is, even while a search runs it, and write nothing.

    Args:
        name: As `load_study` takes it; likewise `directory` and `storage`.
        directory: Where studies keep their records.
        storage: An Optuna storage.

    Raises:
        StudyError: If there is no such study.
    """
    check_study_name(name)
    view = StudyView(name, storage_of(Path(directory) / name, storage))
    return FinishedStudy(view, view.settings)


def load_study(name: str, directory: str | Path = ".", *, storage: str | None = None) -> FinishedStudy:
    """Read a study.

    Args:
        name: The `project_name` of its tuner, or the `--study` of the command line.
        directory: The tuner's `directory`; the command line's is "batch_size_studies".
        storage: The Optuna storage that the search was given, if it was.

    Raises:
        StudyError: If there is no such study, or a search is running it.
    """
    check_study_name(name)
    study = Study(name)
    return FinishedStudy(study, open_recorded(study, Path(directory) / name, storage))


def open_recorded(study: Study, directory: Path, storage_url: str | None) -> dict[str, str]:
    """Open a study that was recorded before, and return the settings that it was started with.

    Args:
        study: Not open.
        directory: Its own.
        storage_url: The Optuna storage; None for the journal in its directory.

    Raises:
        StudyError: If there is no such study, or a search is running it.
    """
    if storage_url is None and not directory.is_dir():
        raise StudyError(f"A study must have been searched before it can be read; got {directory}. Check the name.")
    with claimed(directory, storage_url) as claim:  # whatever still ran is ended, as the next search would end it
        return open_again(study, claim)
