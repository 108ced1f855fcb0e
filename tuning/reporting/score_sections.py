"""The figures of a report about scores: by batch size, along training, by learning rate, and against cost."""

from __future__ import annotations

import statistics
from collections import defaultdict

from tuning.figures import curves, quality, rates, trade_off
from tuning.reporting.analysis import Analysis
from tuning.reporting.evidence import Evidence
from tuning.reporting.section import Section, left_out


def quality_section(evidence: Evidence, analysis: Analysis) -> Section:
    """Score by batch size: every seed, the means, their standard errors."""
    found = evidence.answer.recommendation
    means = {row.batch_size: (row.objective_mean, row.objective_se) for row in found.table}
    told = "Each batch size at its best setting; one circle is one training."
    if any(error is not None for _, error in means.values()):
        told += " The error is what remains when the seeds' common effect is taken out."
    return Section(
        f"{found.objective} by batch size",
        lambda axes: quality.draw(
            axes,
            {arm.batch_size: list(arm.scores.values()) for arm in analysis.arms if arm.scores},
            {size: (mean, error) for size, (mean, error) in means.items() if mean is not None},
            objective=found.objective,
            chosen=found.batch_size,
        ),
        told,
    )


def curves_section(evidence: Evidence, analysis: Analysis) -> Section:
    """Learning curves of each batch size at its best setting."""
    title = "Learning curves by examples seen"
    found = {
        arm.batch_size: [(t.examples_seen, t.objective_curve) for t in arm.trials if t.scored and t.examples_seen]
        for arm in analysis.arms
    }
    found = {size: lines for size, lines in found.items() if lines}
    if not found:
        return left_out(title, "No training logged its score along the way.")
    objective = evidence.answer.recommendation.objective
    return Section(
        title,
        lambda axes: curves.draw(axes, found, objective=objective),
        "The mean over the seeds, at each batch size's best setting; the shade is their range.",
    )


def rates_section(evidence: Evidence, analysis: Analysis) -> Section:
    """The map of batch sizes and learning rates."""
    title = "Learning rate by batch size"
    by_place: dict[tuple[int, float], list[float]] = defaultdict(list)
    failed: dict[tuple[int, float], str] = {}
    for trial in evidence.results:
        if trial.learning_rate is not None:
            place = trial.batch_size, trial.learning_rate
            if trial.scored and trial.objective is not None:
                by_place[place].append(trial.objective)
            else:
                failed[place] = trial.outcome.value
    if not by_place:
        return left_out(title, "The trials' learning rates are not known: the model follows a schedule of its own.")
    best = {arm.batch_size: arm.learning_rate for arm in analysis.arms if arm.scores and arm.learning_rate is not None}
    one_each = len(by_place) == len({size for size, _ in by_place})
    objective = evidence.answer.recommendation.objective
    return Section(
        title,
        lambda axes: rates.draw(
            axes,
            {place: statistics.fmean(scores) for place, scores in by_place.items()},
            best,
            objective=objective,
            failed={place: status for place, status in failed.items() if place not in by_place},
        ),
        "One learning rate was tried for each batch size, by the rule in the settings below."
        if one_each
        else "The mean score of every setting; a ring marks the one that its batch size is judged by.",
    )


def trade_off_section(evidence: Evidence) -> Section:
    """Score against cost, and the Pareto set."""
    title = "What a better score costs"
    found = evidence.answer.recommendation
    offers = () if found.explanation is None else found.explanation.pareto
    errors = {row.batch_size: row.objective_se for row in found.table}
    points = {
        offer.batch_size: (offer.cost, offer.objective, errors[offer.batch_size])
        for offer in offers
        if offer.cost is not None
    }
    if len(points) < 2 or found.cost is None:
        return left_out(title, "Fewer than two batch sizes have both a score and a cost.")
    unit = found.cost
    efficient = [offer.batch_size for offer in offers if offer.efficient and offer.batch_size in points]
    return Section(
        title,
        lambda axes: trade_off.draw(
            axes, points, efficient, objective=found.objective, unit=unit, chosen=found.batch_size
        ),
        "The Pareto set holds what no other batch size beats in score, cost, examples and memory at once: "
        f"{', '.join(map(str, efficient))}.",
    )
