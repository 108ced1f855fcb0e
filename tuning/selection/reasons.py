"""The reasons of a recommendation, in plain English: what, why, how sure, what being wrong costs, what is untested."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tuning.selection import costs as cost_kinds
from tuning.selection.arms import Arm
from tuning.selection.costs import Costs
from tuning.selection.decision import Decision
from tuning.selection.rules import BALANCED, QUALITY
from tuning.selection.verdicts import is_worse
from tuning.selection.wording import duration, listing, number, plural, score


@dataclass(frozen=True)
class Findings:
    """Everything that the words are made of.

    Args:
        objective: Name of the score.
        maximize: Whether larger is better.
        rule: The rule that picked.
        tolerance: Accepted loss of objective, or None.
        target: The objective to reach, or None.
        planned_seeds: Seeds that each batch size was meant to have, or None.
        arms: Every batch size, ascending.
        costs: What each costs.
        decision: What was picked, by which comparison.
    """

    objective: str
    maximize: bool
    rule: str
    tolerance: float | None
    target: float | None
    planned_seeds: int | None
    arms: Sequence[Arm]
    costs: Costs
    decision: Decision

    @property
    def chosen(self) -> Arm:
        """The picked arm."""
        return self.arm(self.decision.chosen)

    def arm(self, batch_size: int) -> Arm:
        """The arm of a batch size."""
        return next(arm for arm in self.arms if arm.batch_size == batch_size)

    def mean(self, batch_size: int) -> float:
        """Mean final score in the objective's own direction."""
        return self.decision.quality.mean(batch_size) * (1 if self.maximize else -1)


def reasons_of(findings: Findings) -> tuple[str, ...]:
    """Return three to six sentences, in the order in which a reader asks."""
    sentences = (
        _what(findings),
        _why(findings),
        _evidence(findings),
        _how_sure(findings),
        _untested(findings),
    )
    return tuple(sentence for sentence in sentences if sentence)


def cost_in_words(costs: Costs, batch_size: int) -> str:
    """Such as "12 seconds of training"; empty if unknown."""
    cost = costs.by_batch_size.get(batch_size)
    if cost is None or costs.kind is None:
        return ""
    if costs.kind == cost_kinds.EXAMPLES_TO_TARGET:
        return f"{number(cost)} {costs.kind}"
    if costs.kind == cost_kinds.SECONDS_PER_EXAMPLE:
        return f"{number(1 / cost)} examples per second"
    return f"{duration(cost)} {costs.kind.removeprefix('seconds ')}"


def _what(findings: Findings) -> str:
    arm = findings.chosen
    rate = "" if arm.learning_rate is None else f" and a learning rate of {number(arm.learning_rate)}"
    others = ", ".join(f"{name} = {value}" for name, value in arm.hyperparameters)
    return f"Train with a batch size of {arm.batch_size}{rate}{f' ({others})' if others else ''}."


def _why(findings: Findings) -> str:
    decision, costs = findings.decision, findings.costs
    size, judged = decision.chosen, decision.judged
    if len(judged.batch_sizes) == 1:
        return "It is the only batch size that could be judged, so nothing was compared."
    spent = cost_in_words(costs, size)
    if decision.times:
        runner_up = max((s for s in judged.batch_sizes if s != size), key=judged.mean)
        return (
            f"It reaches {findings.objective} {score(findings.target or 0.0)} soonest: {spent}, "
            f"against {cost_in_words(costs, runner_up)} with {runner_up}, the next best."
        )
    if findings.rule == QUALITY or not spent:
        cause = "" if spent else "; what each batch size costs is not known, so cost could not decide"
        return f"It has the best mean {findings.objective} of the {len(judged.batch_sizes)} compared{cause}."
    if decision.eligible == (size,):
        return f"It has the best mean {findings.objective}, and no other comes within the tolerance ({spent})."
    best = judged.best
    against = f", against {cost_in_words(costs, best)} with {best}, the best mean" if best != size else ""
    return (
        f"It is the cheapest of {listing(decision.eligible)}, which come close enough to the best "
        f"{findings.objective}: {spent}{against}."
    )


def _evidence(findings: Findings) -> str:
    quality, size = findings.decision.quality, findings.decision.chosen
    error = quality.mean_error(size)
    told = score(findings.mean(size), error)
    seeds = plural(len(findings.chosen.scores), "seed")
    spread = f" with a standard error of {number(error, 2)}" if error else ""
    best = quality.best
    other = "" if best == size else f"; the best mean, with {best}, is {score(findings.mean(best), error)}"
    return f"Its mean {findings.objective} over {seeds} is {told}{spread}{other}."


def _how_sure(findings: Findings) -> str:
    judged, size = findings.decision.judged, findings.decision.chosen
    others = [s for s in judged.batch_sizes if s != size]
    if not others:
        return ""
    if judged.sigma is None:
        return "How sure this is cannot be said: without repeated seeds the noise is unknown."
    tied = [s for s in others if not is_worse(s, findings.decision)]
    if not tied:
        return "Every other batch size tested is worse by more than the noise (90 % confidence for all at once)."
    needed = [n for s in tied if (n := judged.seeds_to_separate(s)) is not None]
    more = f" About {min(needed)} seeds would begin to separate them." if needed else ""
    return f"It cannot be told apart from {listing(tied)} with this many seeds.{more}"


def _untested(findings: Findings) -> str:
    tested = [arm.batch_size for arm in findings.arms if arm.scores]
    fixed = "" if any(arm.settings > 1 for arm in findings.arms) else " other learning rates,"
    span = f"smaller than {tested[0]} or larger than {tested[-1]}"
    return f"Not tested:{fixed} batch sizes {span}, and any other model, data, budget or machine."


def caveats_of(findings: Findings) -> tuple[str, ...]:
    """Return the warnings that apply."""
    return tuple(
        caveat
        for caveat in (
            _obstacle(findings),
            _too_few_seeds(findings),
            _missing_seeds(findings),
            _unpaired(findings),
            _edge(findings),
            _optimism(findings),
            _larger_failed(findings),
        )
        if caveat
    )


def _obstacle(findings: Findings) -> str:
    obstacle = findings.decision.obstacle
    return f"{obstacle[0].upper()}{obstacle[1:]}; the pick is the best of those that ran." if obstacle else ""


def _too_few_seeds(findings: Findings) -> str:
    if findings.decision.judged.sigma is not None or len(findings.decision.judged.batch_sizes) == 1:
        return ""
    return (
        "The noise is unknown, because no setting was repeated with another seed: "
        f"{findings.decision.chosen} merely has the best mean. Run it with 3 seeds or more."
    )


def _missing_seeds(findings: Findings) -> str:
    judged = [a for a in findings.arms if a.scores]
    planned = findings.planned_seeds or max(len(a.scores) for a in judged)
    short = [f"{a.batch_size} ({len(a.scores)} of {planned})" for a in judged if len(a.scores) < planned]
    if not short:
        return ""
    return (
        f"Seeds are missing for {listing(short)}; the means are adjusted by the seeds that all share, "
        "and their errors are wider."
    )


def _unpaired(findings: Findings) -> str:
    quality = findings.decision.quality
    if quality.blocked or len(quality.batch_sizes) < 2 or quality.sigma is None:
        return ""
    return "The batch sizes share too few seeds to be paired, so the spread between seeds counts as noise."


def _edge(findings: Findings) -> str:
    edges = [f"{a.batch_size} ({a.edge})" for a in findings.arms if a.scores and a.edge]
    if not edges:
        return ""
    return (
        f"The best learning rate is at an end of those tried for {listing(edges)}; "
        "a value further out may do better there."
    )


def _optimism(findings: Findings) -> str:
    arm = findings.chosen
    if arm.confirmed or arm.settings < 2:
        return ""
    return (
        f"Its score is the best of {arm.settings} settings tried with the same seeds, hence too good on average; "
        "fresh seeds would tell."
    )


def _larger_failed(findings: Findings) -> str:
    rule = findings.rule
    failed = [arm.batch_size for arm in findings.arms if not arm.scores or arm.broken]
    if not failed or rule not in (BALANCED, QUALITY, "fastest"):
        return ""
    return f"No full set of scores for {listing(failed)}; see their verdicts in the table."
