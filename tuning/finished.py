"""FinishedStudy: what a search has found, read from its own record, without its data, model or a server."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tuning.search.answering import recommend_from_study
from tuning.search.delivery import open_again
from tuning.search.options import SearchOptions, check_study_name
from tuning.stats.recommendation import Recommendation
from tuning.study.claim import claimed
from tuning.study.storage import StudyError
from tuning.study.study import Study
from tuning.trial import Trial


class FinishedStudy:
    """A study that nobody runs.

    Args:
        study: Open.
        settings: What it was started with, in words.
    """

    def __init__(self, study: Study, settings: Mapping[str, str]) -> None:
        self._study, self.settings = study, dict(settings)

    @property
    def name(self) -> str:
        """The study's name."""
        return self._study.name

    @property
    def trials(self) -> tuple[Trial, ...]:
        """Every trial, in the order of their start."""
        return tuple(self._study.records)

    def recommend(self, **rule: Any) -> Recommendation:
        """Recommend a batch size from the trials.

        Args:
            rule: `rule`, `tolerance`, `target`: override those of the search; see `tuning.recommend`.

        Raises:
            NothingToRecommend: If no trial completed.
        """
        return recommend_from_study(self._study, SearchOptions(), int(self.settings.get("seeds", 3)), **rule)


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
