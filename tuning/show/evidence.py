"""Evidence: everything that a report is made of, gathered at the end of a search or from MLflow alone."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tuning.machine.advice import TrainingAdvice
from tuning.objective import Objective
from tuning.record.reading import StudyRecord, latest_study, read_study
from tuning.record.runs import Measurements, read_measurements
from tuning.record.store import TrackingError
from tuning.show.answer import Answer, judged_by, recommend_from, rule_in_force
from tuning.stats.arms import Arm, group_into_arms
from tuning.stats.costs import Costs, arm_costs
from tuning.stats.findings import Explanation, explain
from tuning.stats.rules import TIME
from tuning.trial import Trial


@dataclass(frozen=True)
class Evidence:
    """The facts that a report tells.

    Args:
        answer: The recommendation.
        trials: Every trial that ended.
        objective: The metric that is compared, and which way is better.
        target: The score to reach that was asked for, or None.
        settings: What the search was started with; empty for runs of other programs.
        measurements: What was measured beside the trials.
        throughput: Examples per second by batch size by which it was judged; None for the trials' own.
        throughput_errors: The standard error of ln of that, by batch size.
        tolerance: The loss of objective that is accepted for a cheaper batch size, if one was asked for.
        cost: What decides between batch sizes that are good enough.
    """

    answer: Answer
    trials: Sequence[Trial]
    objective: Objective
    target: float | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    measurements: Measurements = field(default_factory=Measurements)
    throughput: Mapping[int, float] | None = None
    throughput_errors: Mapping[int, float] | None = None
    tolerance: float | None = None
    cost: str = TIME


def evidence_of_study(tracking_uri: str | None, study: str | None, **rule: Any) -> Evidence:
    """Gather what MLflow holds of a study of this package.

    Args:
        tracking_uri: MLflow's store; None for the default.
        study: Its name; None for the one written to last.
        rule: The arguments `rule`, `tolerance`, `target` and `cost` of `stats.recommendation.recommend`.

    Raises:
        TrackingError: If the store or the study does not exist.
        NothingToRecommend: If no trial completed.
    """
    return evidence_from(read_study(tracking_uri, study or latest_study(tracking_uri)), rule)


def evidence_of_search(
    answer: Answer,
    trials: Sequence[Trial],
    *,
    objective: Objective,
    target: float | None,
    settings: Mapping[str, str],
    tolerance: float | None = None,
    cost: str = TIME,
) -> Evidence:
    """Gather what a search that has just ended knows; what MLflow does not tell at once is left out."""
    measurements = Measurements()
    if answer.tracking_uri and answer.experiment_id:
        try:
            measurements = read_measurements(answer.tracking_uri, answer.experiment_id)
        except TrackingError:  # the server is gone; the report waits with everything else that is to be sent
            measurements = Measurements()
    judged = judged_by(settings)
    rates, errors = judged.get("throughput"), judged.get("throughput_errors")
    return Evidence(answer, trials, objective, target, settings, measurements, rates, errors, tolerance, cost)


def evidence_from(record: StudyRecord, rule: Mapping[str, Any]) -> Evidence:
    """Gather what MLflow holds of a search, ours or another program's; the arguments are those of `recommend_from`.

    Raises:
        NothingToRecommend: If no trial completed.
    """
    rule = rule_in_force(record, rule)
    measurements = read_measurements(record.tracking_uri, record.experiment_id)
    answer = recommend_from(record, rule)
    training = measurements.recommendation.get("training")
    return Evidence(
        dataclasses.replace(answer, advice=_advice(training, answer.recommendation.batch_size)),
        record.trials,
        record.objective,
        rule.get("target"),
        record.settings,
        measurements,
        rule.get("throughput"),
        rule.get("throughput_errors"),
        rule.get("tolerance"),
        rule.get("cost") or TIME,
    )


def _advice(recorded: object, batch_size: int) -> TrainingAdvice | None:
    """Return the advice that the search recorded, if it was for the batch size recommended now."""
    names = {field.name for field in dataclasses.fields(TrainingAdvice)}
    if not isinstance(recorded, Mapping) or recorded.keys() != names or recorded["batch_size"] != batch_size:
        return None
    return TrainingAdvice(**recorded)


_SHARE = 2 / 3  # of the batch sizes: enough of them for the law, and not the worst


@dataclass(frozen=True)
class Reached:
    """The cost of reaching a score, and what was fitted to it.

    Args:
        target: The score; None if no training left a curve.
        sizes: The batch sizes that it was taken from; empty if it was asked for.
        costs: What each batch size needed to reach it.
        explanation: The fits to these costs.
    """

    target: float | None
    sizes: Sequence[int]
    costs: Costs
    explanation: Explanation


@dataclass(frozen=True)
class Analysis:
    """The batch sizes and fits that the figures are drawn from.

    Args:
        arms: Every batch size at the setting that the recommendation judges it by.
        close: At the target or, if none was asked for, at the score that every training of the batch sizes which the
            rule chose from reached at some time. It is known only afterwards, so it explains and does not decide.
        wide: The same or, if none was asked for, at the score of the better two thirds of the batch sizes: a law of
            updates needs several batch sizes that reach one score.
    """

    arms: Sequence[Arm]
    close: Reached
    wide: Reached


def analyse(evidence: Evidence) -> Analysis:
    """Group the trials as the recommendation did, and fit what can be fitted."""
    objective, asked = evidence.objective, evidence.target
    arms = group_into_arms(evidence.trials, objective=objective, target=asked)

    def reached(sizes: Sequence[int]) -> Reached:
        target = common_score(arms, sizes, objective=objective) if asked is None else asked
        costs = arm_costs(arms, objective=objective, target=target, throughput=evidence.throughput)
        return Reached(target, () if asked is not None else sizes, costs, explain(arms, costs, {}, objective=objective))

    return Analysis(arms, reached(evidence.answer.recommendation.eligible), reached(_better_part(arms, objective)))


def _better_part(arms: Sequence[Arm], objective: Objective) -> list[int]:
    """Return the batch sizes with the better scores in common, ascending; those without a curve are not among them."""
    scores = {
        arm.batch_size: common_score(arms, [arm.batch_size], objective=objective) for arm in arms if not arm.broken
    }
    known = {size: score for size, score in scores.items() if score is not None}
    ranked = sorted(known, key=lambda size: objective.sign * known[size], reverse=True)
    return sorted(ranked[: math.ceil(_SHARE * len(ranked))])


def common_score(arms: Sequence[Arm], sizes: Collection[int], *, objective: Objective) -> float | None:
    """Return the best score that every judging training of these batch sizes reached; None if one left no curve.

    Args:
        arms: Every batch size.
        sizes: The batch sizes that count.
        objective: The metric whose curves they are.
    """
    judging = [trial for arm in arms if arm.batch_size in sizes for trial in arm.trials if trial.scored]
    curves = [[value for value in trial.curve(objective.name)[1] if math.isfinite(value)] for trial in judging]
    return objective.worst(map(objective.best, curves)) if curves and all(curves) else None
