"""Evidence: everything that a report is made of, gathered at the end of a search or from MLflow alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tuning.answer import Answer
from tuning.picking import judged_by, recommend_from, rule_in_force
from tuning.searching.training_advice import TrainingAdvice
from tuning.selection.results import TrialResult
from tuning.tracking.measurements import Measurements, read_measurements
from tuning.tracking.reading import StudyRecord, latest_study, read_study
from tuning.tracking.store import TrackingError


@dataclass(frozen=True)
class Evidence:
    """What a report tells.

    Args:
        answer: The recommendation.
        results: Every trial that ended.
        maximize: Whether a larger objective is better.
        target: The objective to reach that was asked for, or None.
        settings: What the search was started with; empty for runs of other programs.
        measurements: What was measured beside the trials.
        throughput: Examples per second by batch size by which it was judged; None for the trials' own.
    """

    answer: Answer
    results: Sequence[TrialResult]
    maximize: bool
    target: float | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    measurements: Measurements = field(default_factory=Measurements)
    throughput: Mapping[int, float] | None = None


def evidence_of_study(tracking_uri: str | None, study: str | None, **rule: Any) -> Evidence:
    """Gather what MLflow holds of a study of this package.

    Args:
        tracking_uri: MLflow's store; None for the default.
        study: Its name; None for the one written to last.
        rule: `rule`, `tolerance` and `target` of `selection.recommend`.

    Raises:
        TrackingError: If the store or the study does not exist.
        NothingToRecommend: If no trial completed.
    """
    return evidence_from(read_study(tracking_uri, study or latest_study(tracking_uri)), rule)


def evidence_of_search(
    answer: Answer, results: Sequence[TrialResult], *, maximize: bool, target: float | None, settings: Mapping[str, str]
) -> Evidence:
    """Gather what a search that has just ended knows; what MLflow does not tell at once is left out."""
    measurements = Measurements()
    if answer.tracking_uri:
        try:
            measurements = read_measurements(answer.tracking_uri, answer.experiment_id)
        except TrackingError:  # the server is gone; the report waits with everything else that is to be sent
            measurements = Measurements()
    judged = judged_by(settings)
    return Evidence(answer, results, maximize, target, settings, measurements, judged.get("throughput"))


def evidence_from(record: StudyRecord, rule: Mapping[str, Any]) -> Evidence:
    """Gather what MLflow holds of a search, ours or another program's; arguments as in `picking.recommend_from`.

    Raises:
        NothingToRecommend: If no trial completed.
    """
    rule = rule_in_force(record, rule)
    answer = recommend_from(record, rule)
    measurements = read_measurements(record.tracking_uri, record.experiment_id)
    advice = _advice(measurements.recommendation.get("training"), answer.recommendation.batch_size)
    return Evidence(
        dataclasses.replace(answer, advice=advice),
        record.results,
        record.maximize,
        rule.get("target"),
        record.settings,
        measurements,
        rule.get("throughput"),
    )


def _advice(recorded: object, batch_size: int) -> TrainingAdvice | None:
    """What the search measured last, if it was for the batch size recommended now."""
    names = {field.name for field in dataclasses.fields(TrainingAdvice)}
    if not isinstance(recorded, Mapping) or recorded.keys() != names or recorded["batch_size"] != batch_size:
        return None
    return TrainingAdvice(**recorded)
