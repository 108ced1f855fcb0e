"""AnsweringTuner: what a study's trials come to: the recommendation, the answer around it, and its report."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from tuning.record.tracker import Tracker
from tuning.search.advice import TrainingAdvice
from tuning.search.options import SearchOptions
from tuning.show.answer import Answer
from tuning.show.evidence import evidence_of_search
from tuning.show.notes import notes_of
from tuning.show.page import FILE_NAME, ReportWarning, render_report
from tuning.stats.recommendation import Recommendation, recommend
from tuning.stats.results import TrialResult
from tuning.stats.trade_offs import TradeOffs, split_objectives, trade_offs
from tuning.worker_built_tuner import WorkerBuiltTuner


class AnsweringTuner(WorkerBuiltTuner):
    """Answers from the records of its oracle, at any time; how they came about is not its concern.

    Args:
        oracle: An `OptunaOracle`.
        hypermodel: As `WorkerBuiltTuner` takes it.
        objective: As `BatchSizeTuner` takes it.
        seeds: Trainings per setting that are planned.
        options: How the search runs, and how the recommendation picks.
        directory: Where studies keep their records.
        project_name: Name of the study.
        kind: Of search.
    """

    def __init__(
        self,
        oracle: Any,
        hypermodel: Any,
        objective: Any,
        *,
        seeds: int,
        options: SearchOptions,
        directory: str | Path | None,
        project_name: str | None,
        kind: str,
    ) -> None:
        self.asked_objective, self.further_objectives = split_objectives(objective)
        self.seeds, self.options = seeds, options
        self._largest_fitting: int | None = None
        self._answer: Answer | None = None
        self._settings: dict[str, str] = {}
        super().__init__(
            oracle,
            hypermodel,
            directory=directory,
            project_name=project_name,
            kind=kind,
            keep_models=options.keep_models,
        )

    def recommend(self, **rule: Any) -> Recommendation:
        """Recommend a batch size from the trials so far.

        Args:
            rule: `rule`, `tolerance`, `target`: override the tuner's options; see `selection.recommend`.

        Raises:
            NothingToRecommend: If no trial completed.
        """
        chosen = {"rule": self.options.rule, "tolerance": self.options.tolerance, "target": self.target} | rule
        return recommend(
            self._results(),
            maximize=self.oracle.maximize,
            objective=self.oracle.objective.name,
            notes=self._notes(),
            planned_seeds=self.seeds,
            **chosen,
        )

    @property
    def target(self) -> float | None:
        """The score by the time to which batch sizes are judged; None if there is none."""
        return self.options.target

    @property
    def answer(self) -> Answer:
        """The recommendation with which the last search ended, and where its trials are.

        Raises:
            ValueError: If nothing has been searched yet.
        """
        if self._answer is None:
            raise ValueError("There is no answer yet; call search() first.")
        return self._answer

    def _record_answer(self, found: Recommendation, advice: TrainingAdvice | None, tracker: Tracker) -> None:
        """Keep the answer, and show it with its report where the trials are shown."""
        where = (self.project_name, tracker.tracking_uri, tracker.experiment_id)
        self._answer = Answer(found, *where, advice, self._trade_offs(found))
        tracker.log_recommendation(self._answer.to_json(), self._answer.to_markdown(), self._report())

    def _report(self) -> dict[str, str]:
        """The page that goes with the recommendation, where there is a place for it and it can be drawn."""
        if not self.answer.tracking_uri:
            return {}
        maximize = self.oracle.maximize
        try:
            evidence = evidence_of_search(
                self.answer, self._results(), maximize=maximize, target=self.target, settings=self._settings
            )
            return {FILE_NAME: render_report(evidence)}
        except Exception as error:  # whatever a drawing raises, the answer has been found
            warnings.warn(
                f"The report could not be drawn: {type(error).__name__}: {error}. The answer is complete without it.",
                ReportWarning,
                stacklevel=2,
            )
            return {}

    def _results(self) -> list[TrialResult]:
        """Every trial that has ended."""
        name = self.oracle.objective.name
        return [record.result(name) for record in self.oracle.records if record.outcome is not None]

    def _trade_offs(self, found: Recommendation) -> TradeOffs | None:
        if not self.further_objectives:
            return None
        return trade_offs(found.table, found.objective, self.further_objectives, maximize=self.oracle.maximize)

    def _notes(self) -> list[str]:
        return notes_of(self._description, self.options, self.oracle.records, self._largest_fitting)
