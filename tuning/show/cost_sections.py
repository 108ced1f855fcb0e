"""The figures of a report about what training costs: time or examples to the target, updates to it, energy."""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection

import numpy as np

from tuning.show.canvas import Section, left_out
from tuning.show.cost_figures import draw_cost, draw_updates
from tuning.show.evidence import Analysis, Evidence, Reached
from tuning.stats.comparison import compare
from tuning.stats.costs import EXAMPLES_TO_TARGET, SECONDS_TO_TARGET, Costs
from tuning.stats.findings import Explanation
from tuning.stats.forecast import LEAST_TIMED_SIZES, ThroughputLine
from tuning.stats.reasons import listing, number
from tuning.stats.scaling_law import ScalingLaw, seconds_to_target

_POINTS = 60


def cost_section(evidence: Evidence, analysis: Analysis) -> Section:
    """Time to the target, or examples to it; without curves, the cost of the budget."""
    costs, fits = analysis.close.costs, analysis.close.explanation
    if costs.kind not in (SECONDS_TO_TARGET, EXAMPLES_TO_TARGET):
        return _budget_section(evidence, analysis.close)
    in_seconds = costs.kind == SECONDS_TO_TARGET
    hits, misses = _by_seed(costs)
    fitted = _fitted_seconds(fits, costs.by_batch_size) if in_seconds else []
    zone = fits.optimum.flat_zone if fits.optimum is not None and fitted else None
    told = (
        f"There is no fitted time: {_why_not_fitted(fits.scaling_law, fits.throughput_line)}."
        if zone is None
        else f"The fitted time is within 5 % of its least from {' to '.join(map(number, zone))}."
    )
    return Section(
        "Time to the target" if in_seconds else "Examples to the target",
        lambda axes: draw_cost(
            axes,
            costs.by_batch_size,
            unit="training seconds to the target" if in_seconds else "training examples to the target",
            by_seed=hits,
            missed=misses,
            log_errors=_log_errors(costs),
            chosen=evidence.answer.recommendation.batch_size,
            fitted=fitted,
            flat_zone=zone,
        ),
        f"{_target_told(evidence, analysis.close)} {told}",
    )


def updates_section(evidence: Evidence, analysis: Analysis) -> Section:
    """Updates to the target with the fitted law."""
    title = "Updates to the target"
    found = {
        size: [crossing.examples / size for crossing in by_seed.values()]
        for size, by_seed in analysis.wide.costs.crossings.items()
        if not analysis.wide.costs.missed(size) and analysis.wide.costs.examples_to_target(size) is not None
    }
    if len(found) < 2:
        return left_out(title, "Fewer than two batch sizes reached a common target with a curve that tells when.")
    law = analysis.wide.explanation.scaling_law
    is_known = law is not None and law.identified
    return Section(
        title,
        lambda axes: draw_updates(
            axes,
            found,
            fitted=[] if law is None else [(size, law.updates(size)) for size in _between(found)],
            smallest=law.smallest_updates if law is not None and is_known else None,
            critical=law.critical_batch_size if law is not None and is_known else None,
            interval=law.interval if law is not None else (None, None),
        ),
        f"{_target_told(evidence, analysis.wide)} {_law_told(law)}",
    )


def _by_seed(costs: Costs) -> tuple[dict[int, list[float]], dict[int, list[float]]]:
    """What the trainings that reached the target needed, and what those that missed it had spent, by batch size."""
    hits: dict[int, list[float]] = {}
    misses: dict[int, list[float]] = {}
    for size, by_seed in costs.crossings.items():
        rate = costs.examples_per_second.get(size) if costs.kind == SECONDS_TO_TARGET else 1.0
        for found in by_seed.values():
            if rate and math.isfinite(found.examples):
                (hits if found.reached else misses).setdefault(size, []).append(found.examples / rate)
    return hits, misses


def _log_errors(costs: Costs) -> dict[int, float]:
    """Standard error of ln(cost) of each batch size that reached the target, the seeds' common effect taken out."""
    compared = compare({size: costs.log_efficiency(size) for size in costs.by_batch_size})
    errors = {size: compared.mean_error(size) for size in compared.batch_sizes}
    return {size: error for size, error in errors.items() if error is not None}


def _fitted_seconds(fits: Explanation, sizes: Collection[int]) -> list[tuple[float, float]]:
    """Points of the fitted curve; none where it is not known."""
    law, line = fits.scaling_law, fits.throughput_line
    if fits.optimum is None or law is None or line is None:
        return []
    return [(size, seconds_to_target(law, line, size)) for size in _between(sizes)]


def _budget_section(evidence: Evidence, reached: Reached) -> Section:
    found = evidence.answer.recommendation
    offers = () if found.explanation is None else found.explanation.pareto
    costs = {offer.batch_size: offer.cost for offer in offers if offer.cost is not None}
    if not costs or found.cost is None:
        return left_out("Time to the target", "Neither times nor learning curves were logged.")
    unit = found.cost
    why = (
        "without learning curves there is no time to a target"
        if reached.target is None
        else f"no batch size reached {found.objective} {number(reached.target)} with enough of its seeds"
    )
    return Section(
        "Cost of training",
        lambda axes: draw_cost(axes, costs, unit=unit, chosen=found.batch_size),
        f"Of the same budget for every batch size; {why}.",
    )


def energy_section(evidence: Evidence) -> tuple[Section, ...]:
    """Joules per example, or why they are unknown; nothing where nobody tried to read them."""
    title = "Energy by batch size"
    found = evidence.answer.recommendation
    each = {row.batch_size: row.joules_per_example for row in found.table}
    known = {size: joules for size, joules in each.items() if joules is not None}
    if not known:
        tried = any(trial.outcome is not None and trial.outcome.energy_note for trial in evidence.trials)
        return (left_out(title, found.energy_note),) if tried else ()
    watts = [row.mean_watts for row in found.table if row.mean_watts is not None]
    outcomes = [trial.outcome for trial in evidence.trials if trial.outcome is not None]
    idle = [outcome.measurements["idle_watts"] for outcome in outcomes if "idle_watts" in outcome.measurements]
    told = "Of the training seconds, without compiling and validation, for the whole card or processor."
    if watts:
        told += f" The mean power was {number(min(watts))} to {number(max(watts))} W."
    if idle:
        told += f" While idle it was {number(statistics.median(idle))} W, which is not subtracted."
    return (
        Section(
            title,
            lambda axes: draw_cost(axes, known, unit="joules per example", chosen=found.batch_size),
            f"{told} {found.energy_note}".strip(),
        ),
    )


def _target_told(evidence: Evidence, reached: Reached) -> str:
    told = f"The target is {evidence.answer.recommendation.objective} {number(reached.target or 0.0)}"
    if evidence.target is not None:
        return f"{told}."
    sizes = listing(reached.sizes)
    return f"{told}, which every training with {sizes} reached; the pick does not rest on it (--target asks for one)."


def _why_not_fitted(law: ScalingLaw | None, line: ThroughputLine | None) -> str:
    if law is None or not law.identified:
        return "these trials do not identify the law of updates"
    if not law.describes_updates:
        return f"the updates follow the law with an exponent of {number(law.free_exponent)}, not 1"
    if line is None:
        return "fewer than three batch sizes have a throughput"
    if line.sizes < LEAST_TIMED_SIZES:
        return f"only {line.sizes} batch sizes have a throughput"
    return f"the seconds per update follow no line in the batch size (off by up to {line.largest_residual:.0%})"


def _law_told(law: ScalingLaw | None) -> str:
    if law is None:
        return "Too few batch sizes reached it, each at an inner learning rate, to fit the law of updates."
    low, high = law.interval
    if law.identified:
        ends = f"{number(low or 0.0)} to {number(high)}" if high is not None else f"from {number(low or 0.0)}"
        return f"The critical batch size is {number(law.critical_batch_size)} (90 % interval {ends})."
    bounds = [f"at least {number(low)}"] if low is not None else []
    bounds += [f"at most {number(high)}"] if high is not None else []
    bound = f" If the law holds, it is {' and '.join(bounds)} (90 % interval)." if bounds else ""
    return f"The critical batch size is not identified: {'; '.join(law.doubts)}.{bound}"


def _between(sizes: Collection[int]) -> list[float]:
    return [float(size) for size in np.geomspace(min(sizes), max(sizes), _POINTS)]
