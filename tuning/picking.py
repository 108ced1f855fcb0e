"""Recommend again from MLflow alone, for our own studies and for runs that any program logged."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tuning.answer import Answer
from tuning.selection.recommendation import recommend
from tuning.tracking.layout import TARGET, THROUGHPUT
from tuning.tracking.reading import StudyRecord


def recommend_from(record: StudyRecord, rule: Mapping[str, Any]) -> Answer:
    """Recommend from what MLflow holds of a search, ours or another program's.

    Args:
        record: What was read.
        rule: `rule`, `tolerance` and `target` of `selection.recommend`.

    Raises:
        NothingToRecommend: If no trial completed.
    """
    seeds = record.settings.get("seeds")
    notes = [note for note in record.settings.get("notes", "").splitlines() if note]
    recommendation = recommend(
        record.results,
        maximize=record.maximize,
        objective=record.objective,
        notes=(*notes, *record.notes),
        planned_seeds=int(seeds) if seeds else None,
        **rule_in_force(record, rule),
    )
    return Answer(recommendation, record.study, record.tracking_uri, record.experiment_id)


def rule_in_force(record: StudyRecord, rule: Mapping[str, Any]) -> dict[str, Any]:
    """What was asked for; where that is silent, what a staged search judged by."""
    judged = judged_by(record.settings)
    if record.settings.get("objective") != record.objective:
        judged.pop("target", None)
    return {**judged, **{name: value for name, value in rule.items() if value is not None}}


def judged_by(settings: Mapping[str, str]) -> dict[str, Any]:
    """The target and the throughput by which a staged search judged, from its settings; empty for other studies."""
    found: dict[str, Any] = {}
    if TARGET in settings:
        found["target"] = float(settings[TARGET])
    if THROUGHPUT in settings:
        found["throughput"] = {int(size): rate for size, rate in json.loads(settings[THROUGHPUT]).items()}
    return found
