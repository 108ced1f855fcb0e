"""The recommendation: one batch size, with its reasons, its uncertainty and what was not tested."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuning.selection.arms import Arm, group_into_arms
from tuning.selection.caveats import caveats_of
from tuning.selection.comparison import Comparison
from tuning.selection.costs import arm_costs
from tuning.selection.decision import decide
from tuning.selection.explanation import Explanation, explain
from tuning.selection.findings import Findings
from tuning.selection.reasons import reasons_of
from tuning.selection.results import Hyperparameters, TrialResult, count_by_status
from tuning.selection.rules import FASTEST, check_rule
from tuning.selection.table import TableRow
from tuning.selection.verdicts import verdict_of


class NothingToRecommend(ValueError):  # noqa: N818 (the name is the message)
    """No trial completed with a score; the message is one line that says what happened instead."""


@dataclass(frozen=True)
class Recommendation:
    """One batch size, and why.

    Args:
        rule: The rule that picked it.
        objective: Name of the score compared.
        batch_size: Train with this one.
        learning_rate: And this one; None if unknown or the model's own schedule.
        hyperparameters: And these, as `(name, value)` pairs.
        reasons: What, why, how sure, what it costs to be wrong, what was not tested: plain English sentences.
        caveats: Warnings that apply; empty if none do.
        table: One row per batch size tested, ascending.
        trials: Number of trials by status.
        eligible: The batch sizes that the rule chose the cheapest from, ascending.
        cost: What "cheapest" means here, such as "seconds to the target"; None if no cost is known.
        comparison: The two-way comparison of what decided: final scores, or -ln(cost to the target); larger is better.
            None if a single batch size could be judged.
        margin: The loss whose chance is stated, in the comparison's units; None if unknown.
        chance_of_loss: Chance that the best of those compared beats the pick by more than the margin.
        expected_loss: By how much it is expected to.
        explanation: The fits, and the trade-offs between score, cost, examples and memory.
        target: The score by the time to which it was judged, or None.
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
    explanation: Explanation | None = None
    target: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Every field as plain JSON values; numbers that are not finite become null."""
        plain: dict[str, Any] = _plain(dataclasses.asdict(self))
        plain["hyperparameters"] = {name: _plain(value) for name, value in self.hyperparameters}
        return plain

    def _repr_html_(self) -> str:
        """Words, table and figures, for notebooks."""
        from tuning.selection.notebook import to_html  # draws, which takes a second to load

        return to_html(self)


def recommend(
    results: Sequence[TrialResult],
    *,
    maximize: bool,
    objective: str = "val_accuracy",
    rule: str = FASTEST,
    tolerance: float | None = None,
    target: float | None = None,
    throughput: Mapping[int, float] | None = None,
    notes: Sequence[str] = (),
    planned_seeds: int | None = None,
) -> Recommendation:
    """Recommend a batch size from finished trials, whoever ran them.

    Args:
        results: The trials, in any order.
        maximize: Whether a larger objective is better.
        objective: Its name, for the words.
        rule: "fastest", "balanced" or "quality".
        tolerance: A loss of objective, in its own units, that the user accepts for a cheaper batch size.
        target: The objective to reach; then the cost is the time to it, and a batch size must reach it on every seed.
        throughput: Examples per second by batch size, measured with nothing else running; overrides the trials' own.
        notes: Caveats that the caller knows, as sentences.
        planned_seeds: Seeds that each batch size was meant to have.

    Raises:
        NothingToRecommend: If no trial completed with a score.
        ValueError: If the rule is unknown or the tolerance is negative.
    """
    check_rule(rule)
    if tolerance is not None and not tolerance >= 0:
        raise ValueError(f"tolerance must not be negative; got {tolerance}.")
    counts = count_by_status(results)
    if not any(result.scored for result in results):
        raise NothingToRecommend(_nothing(results, counts))
    arms = group_into_arms(results, maximize=maximize, target=target)
    costs = arm_costs(arms, maximize=maximize, target=target, throughput=throughput)
    decision = decide(arms, costs, maximize=maximize, rule=rule, tolerance=tolerance, target=target)
    means = {size: decision.quality.mean(size) * (1 if maximize else -1) for size in decision.quality.batch_sizes}
    explanation = explain(arms, costs, means, maximize=maximize)
    findings = Findings(objective, maximize, rule, tolerance, target, planned_seeds, arms, costs, decision, explanation)
    return Recommendation(
        rule=rule,
        objective=objective,
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
        explanation=explanation,
        target=target,
    )


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
        verdict=verdict_of(arm, findings.arms, findings.decision),
        examples_per_second=findings.costs.examples_per_second.get(size),
        peak_memory_bytes=arm.peak_memory_bytes,
        seconds_to_target=findings.costs.seconds_to_target(size),
    )


def _nothing(results: Sequence[TrialResult], counts: Mapping[str, int]) -> str:
    if not results:
        return "A recommendation needs at least one completed trial; got no trial at all. Run a search first."
    told = ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in counts.items() if count)
    reason = next((r.reason for r in results if r.reason), "")
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
