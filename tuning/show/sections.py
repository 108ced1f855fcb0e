"""The sections of the page about scores and about the machine."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping

from tuning.show.canvas import Section, left_out
from tuning.show.cost_figures import Point, draw_memory, draw_noise, draw_throughput
from tuning.show.evidence import Analysis, Evidence
from tuning.show.score_figures import draw_curves, draw_quality, draw_rates, draw_trade_off
from tuning.stats.forecast import fit_memory, knee
from tuning.trial import Status


def quality_section(evidence: Evidence, analysis: Analysis) -> Section:
    """Score by batch size: every seed, the means, their standard errors."""
    found = evidence.answer.recommendation
    means = {row.batch_size: (row.objective_mean, row.objective_se) for row in found.table}
    told = "Each batch size at its best setting; one circle is one training."
    if any(error is not None for _, error in means.values()):
        told += " The error is what remains when the seeds' common effect is taken out."
    return Section(
        f"{found.objective} by batch size",
        lambda axes: draw_quality(
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
        arm.batch_size: [trial.curve(evidence.objective.name) for trial in arm.trials if trial.scored]
        for arm in analysis.arms
    }
    found = {size: kept for size, curves in found.items() if (kept := [curve for curve in curves if curve[0]])}
    if not found:
        return left_out(title, "No training logged its score along the way.")
    objective = evidence.answer.recommendation.objective
    return Section(
        title,
        lambda axes: draw_curves(axes, found, objective=objective),
        "The mean over the seeds, at each batch size's best setting; the shade is their range.",
    )


def rates_section(evidence: Evidence, analysis: Analysis) -> Section:
    """The map of batch sizes and learning rates."""
    title = "Learning rate by batch size"
    by_place: dict[tuple[int, float], list[float]] = defaultdict(list)
    failed: dict[tuple[int, float], str] = {}
    for trial in evidence.trials:
        if trial.learning_rate is not None:
            place = trial.batch_size, trial.learning_rate
            if trial.scored and trial.score is not None:
                by_place[place].append(trial.score)
            else:
                failed[place] = str(trial.judged_status)
    if not by_place:
        return left_out(title, "The trials' learning rates are not known: the model follows a schedule of its own.")
    best = {arm.batch_size: arm.learning_rate for arm in analysis.arms if arm.scores and arm.learning_rate is not None}
    one_each = len(by_place) == len({size for size, _ in by_place})
    objective = evidence.answer.recommendation.objective
    return Section(
        title,
        lambda axes: draw_rates(
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
        lambda axes: draw_trade_off(
            axes, points, efficient, objective=found.objective, unit=unit, chosen=found.batch_size
        ),
        "The Pareto set holds what no other batch size beats in score, cost, examples and memory at once: "
        f"{', '.join(map(str, efficient))}.",
    )


PLAIN, TRIALS = "plain model.fit", "the trials' loop"
_NAMES = {"keras": PLAIN, "user": PLAIN, "chosen": TRIALS, "trials": TRIALS}
_MIB = 2**20


def throughput_section(evidence: Evidence, analysis: Analysis) -> Section:
    """Examples per second of plain Keras and of the loop that trained, with their knees."""
    title = "Throughput by batch size"
    rates = {_NAMES.get(name, name): dict(by) for name, by in evidence.measurements.examples_per_second.items()}
    told = "Measured apart from trials, nothing else running."
    if rates and TRIALS not in rates and evidence.answer.advice is not None:
        rates[TRIALS] = {evidence.answer.advice.batch_size: evidence.answer.advice.examples_per_second}
    if not rates:
        own = dict(analysis.close.costs.examples_per_second)
        if not own:
            return left_out(title, "No trial logged its throughput.")
        told = "The trials' own throughput, as they ran: none was measured apart."
        if (advice := evidence.answer.advice) is not None:
            rates[PLAIN] = {advice.batch_size: advice.plain_fit_examples_per_second}
            told += f" Plain model.fit was measured at {advice.batch_size} alone."
        rates[TRIALS] = own
    knees = {name: _knee(found) for name, found in rates.items()}
    return Section(
        title,
        lambda axes: draw_throughput(axes, rates, knees),
        f"{told} At the knee a batch size has 90 % of the best throughput; larger ones hardly train faster.",
    )


def memory_section(evidence: Evidence) -> Section:
    """Peak memory with its line and limit."""
    title = "Peak memory by batch size"
    measured = evidence.measurements
    peaks = dict(measured.peak_memory_bytes)
    told = "Measured by the probe."
    if len(peaks) < 2:
        rows = evidence.answer.recommendation.table
        peaks |= {row.batch_size: row.peak_memory_bytes for row in rows if row.peak_memory_bytes is not None}
        told = "The largest of each batch size's trials, everything in the worker's memory included."
    if not peaks:
        return left_out(title, "No trial logged its peak memory.")
    line = fit_memory(peaks) if len(peaks) > 1 else None
    if line is not None and line.accepted and line.bytes_per_example > 0:
        told += f" An example takes {line.bytes_per_example / _MIB:.3g} MiB."
    limit = measured.memory_limit_bytes
    if limit is not None:
        source = f" ({measured.memory_limit_source})" if measured.memory_limit_source else ""
        told += f" The limit is {limit / _MIB:,.0f} MiB{source}."
    lost = sorted({t.batch_size for t in evidence.trials if t.status is Status.OUT_OF_MEMORY})
    return Section(
        title,
        lambda axes: draw_memory(
            axes,
            {size: peak for size, peak in peaks.items() if size not in lost},
            lost=lost,
            line=line.bytes if line is not None and line.accepted else None,
            limit_bytes=limit,
        ),
        told,
    )


def noise_section(evidence: Evidence, analysis: Analysis) -> Section:
    """Gradient noise scale by training progress."""
    title = "Gradient noise scale"
    measured = evidence.measurements
    series: dict[str, list[Point]] = {}
    if measured.noise_scale:
        series["probe"] = [(float(p.at_examples), p.value, p.low, p.high) for p in measured.noise_scale]
    for size, points in sorted(measured.trial_noise_scale.items()):
        series[f"batch size {size}"] = [(float(at), value, None, None) for at, value in points]
    if not series:
        return left_out(title, "It was not measured; batch-size probe measures it.")
    law = analysis.wide.explanation.scaling_law
    return Section(
        title,
        lambda axes: draw_noise(
            axes, series, critical=law.critical_batch_size if law is not None and law.identified else None
        ),
        "A forecast, within a factor of ten, of the critical batch size; it grows as training goes on."
        + (" Bars are 90 % intervals." if measured.noise_scale else ""),
    )


def _knee(rates: Mapping[int, float]) -> int | None:
    """Return the knee of a throughput; None for a single size."""
    return knee({size: size / rate for size, rate in rates.items()}) if len(rates) > 1 else None
