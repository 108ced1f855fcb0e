"""The recommendation: one batch size, with its reasons, its uncertainty and what was not tested."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tuning.objective import Objective
from tuning.stats.arms import Arm, group_into_arms
from tuning.stats.behaviour import Behaviour
from tuning.stats.caveats import caveats_of, energy_note
from tuning.stats.comparison import Comparison
from tuning.stats.costs import arm_costs, median_of
from tuning.stats.decision import decide
from tuning.stats.findings import Explanation, Findings, explain
from tuning.stats.next_step import NextStep, next_step_of
from tuning.stats.observations import behaviour_of
from tuning.stats.reasons import reasons_of
from tuning.stats.rules import FASTEST, TIME, check_cost, check_rule
from tuning.stats.table import TableRow
from tuning.stats.verdicts import verdict_of
from tuning.trial import Hyperparameters, Status, Trial


class NothingToRecommend(ValueError):  # noqa: N818 (the name is the message)
    """No trial completed with a score; the message is one line that says what happened instead."""


@dataclass(frozen=True)
class Recommendation:
    """One batch size, and why.

    Args:
        rule: The rule that picked it.
        objective: The name of the metric that was compared.
        batch_size: The batch size to train with.
        learning_rate: The learning rate to train with; None if unknown or the model's own schedule.
        hyperparameters: The other hyperparameters to train with, as `(name, value)` pairs.
        reasons: Plain sentences: what, why, how sure, what it costs to be wrong, what was not tested.
        caveats: Warnings that apply; empty if none do.
        table: One row per batch size tested, ascending.
        trials: The number of trials by status.
        eligible: The batch sizes that the rule chose the cheapest from, ascending.
        cost: What "cheapest" means here, such as "seconds to the target"; None if no cost is known.
        comparison: The two-way comparison of what decided: final scores, or -ln(cost to the target); larger is better.
            None if a single batch size could be judged.
        margin: The loss whose chance is stated, in the comparison's units; None if unknown.
        chance_of_loss: The chance that the best of those compared beats the pick by more than the margin.
        expected_loss: The loss expected of the pick against the best, in the comparison's units; None if unknown.
        rate_loss: What the pick is expected to lose to learning rates between those tried, in log time; None if
            unknown.
        explanation: The fits, and the trade-offs between score, cost, examples and memory.
        target: The score by the time to which it was judged, or None.
        energy_note: For which batch sizes no energy is known, and why; empty if it is known for all.
        behaviour: How the trainings went: stability, generalisation, their ends.
        next_step: The trainings that would settle what is open; None where nothing is, or nothing would.
    """

    rule: str
    objective: str
    batch_size: int
    learning_rate: float | None
    hyperparameters: Hyperparameters
    reasons: tuple[str, ...]
    caveats: tuple[str, ...]
    table: tuple[TableRow, ...]
    trials: Mapping[str, int]
    eligible: tuple[int, ...] = ()
    cost: str | None = None
    comparison: Comparison | None = None
    margin: float | None = None
    chance_of_loss: float | None = None
    expected_loss: float | None = None
    rate_loss: float | None = None
    explanation: Explanation | None = None
    target: float | None = None
    energy_note: str = ""
    behaviour: Behaviour = field(default_factory=Behaviour)
    next_step: NextStep | None = None

    def to_json(self) -> dict[str, Any]:
        """Return every field as plain JSON values; numbers that are not finite become null."""
        plain: dict[str, Any] = _plain(dataclasses.asdict(self))
        plain["hyperparameters"] = {name: _plain(value) for name, value in self.hyperparameters}
        return plain


def recommend(
    trials: Sequence[Trial],
    *,
    objective: Objective,
    rule: str = FASTEST,
    tolerance: float | None = None,
    target: float | None = None,
    throughput: Mapping[int, float] | None = None,
    throughput_errors: Mapping[int, float] | None = None,
    cost: str = TIME,
    notes: Sequence[str] = (),
    planned_seeds: int | None = None,
) -> Recommendation:
    """Return the batch size to train with, from finished trials, whoever ran them.

    Args:
        trials: The trials, in any order.
        objective: The metric that decides.
        rule: "fastest", "balanced" or "quality".
        tolerance: A loss of objective, in its own units, that the user accepts for a cheaper batch size.
        target: The objective to reach; then the cost is the time to it. Of a batch size of which seeds missed it
            see `losses_of_misses`.
        throughput: Examples per second by batch size, measured with nothing else running; overrides the trials' own.
        throughput_errors: The standard error of ln of that, by batch size; 0.05 where it is missing.
        cost: What decides between batch sizes that are good enough: "time", or "energy" if every batch size tells it;
            of those that take the same energy, time.
        notes: Caveats that the caller knows, as sentences.
        planned_seeds: Seeds that each batch size was meant to have.

    Raises:
        NothingToRecommend: If no trial completed with a score.
        ValueError: If the rule or the cost is unknown, or the tolerance is negative.
    """
    check_rule(rule)
    check_cost(cost)
    if tolerance is not None and not tolerance >= 0:
        raise ValueError(f"tolerance must not be negative; got {tolerance}.")
    counts = count_by_status(trials)
    if not any(trial.scored for trial in trials):
        raise NothingToRecommend(_nothing(trials, counts))
    arms = group_into_arms(trials, objective=objective, target=target)
    costs = arm_costs(
        arms, objective=objective, target=target, throughput=throughput, cost=cost, throughput_errors=throughput_errors
    )
    decision = decide(arms, costs, objective=objective, rule=rule, tolerance=tolerance, target=target)
    means = {size: objective.sign * decision.quality.mean(size) for size in decision.quality.batch_sizes}
    explanation = explain(arms, costs, means, objective=objective)
    findings = Findings(objective, rule, tolerance, target, planned_seeds, arms, costs, decision, explanation, cost)
    note = energy_note(arms)
    return Recommendation(
        rule=rule,
        objective=objective.name,
        batch_size=decision.chosen,
        learning_rate=findings.chosen.learning_rate,
        hyperparameters=findings.chosen.hyperparameters,
        reasons=reasons_of(findings),
        caveats=(*caveats_of(findings), *notes),
        table=tuple(_row(arm, findings) for arm in arms),
        trials=counts,
        eligible=decision.eligible,
        cost=costs.kind,
        comparison=decision.judged if findings.others else None,
        margin=decision.margin,
        chance_of_loss=decision.chance_of_loss,
        expected_loss=decision.expected_loss,
        rate_loss=decision.rate_loss,
        explanation=explanation,
        target=target,
        energy_note=f"Energy is not known{note}." if note else "",
        behaviour=behaviour_of(findings),
        next_step=next_step_of(findings),
    )


def count_by_status(trials: Iterable[Trial]) -> dict[str, int]:
    """Return the number of trials by every value of `Status`, zeros included; those that still run are left out."""
    counts = {status.value: 0 for status in Status}
    for trial in trials:
        if trial.status is not None:
            counts[trial.status.value] += 1
    return counts


def _row(arm: Arm, findings: Findings) -> TableRow:
    size, quality = arm.batch_size, findings.decision.quality
    compared = size in quality.batch_sizes
    plain = statistics.fmean(arm.scores.values()) if arm.scores else None
    return TableRow(
        batch_size=size,
        learning_rate=arm.learning_rate,
        seeds=len(arm.scores),
        objective_mean=findings.mean(size) if compared else plain,
        objective_se=quality.mean_error(size) if compared else None,
        verdict=verdict_of(arm, findings),
        examples_per_second=findings.costs.examples_per_second.get(size),
        peak_memory_bytes=arm.peak_memory_bytes,
        seconds_to_target=findings.costs.seconds_to_target(size),
        energy_joules=median_of(arm.trials, "energy_joules"),
        mean_watts=median_of(arm.trials, "mean_watts"),
        joules_per_example=findings.costs.joules_per_example.get(size),
        missed=None if findings.target is None else findings.costs.missed(size),
    )


def _nothing(trials: Sequence[Trial], counts: Mapping[str, int]) -> str:
    if not trials:
        return "A recommendation needs at least one completed trial; got no trial at all. Run a search first."
    told = ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in counts.items() if count)
    reason = next((trial.reason for trial in trials if trial.reason), "")
    because = f" First reason: {' '.join(reason.split())}" if reason else ""
    return f"A recommendation needs at least one trial that completed with a finite score; got {told}.{because}"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
