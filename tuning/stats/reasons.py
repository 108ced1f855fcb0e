"""The reasons of a recommendation, in plain English: what, why, how sure, what being wrong costs, what is untested."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tuning.stats import costs as cost_kinds
from tuning.stats.arms import Arm
from tuning.stats.costs import Costs
from tuning.stats.findings import Findings
from tuning.stats.rules import QUALITY
from tuning.trial import Status

MOST_SEEDS = 100
"""No more seeds are proposed to separate batch sizes: those are alike for every purpose."""


def reasons_of(findings: Findings) -> tuple[str, ...]:
    """Return three to seven sentences, in the order in which a reader asks."""
    sentences = (
        _what(findings),
        _why(findings),
        _evidence(findings),
        _how_sure(findings),
        _cost_of_being_wrong(findings),
        _owed_to_rates(findings),
        _untested(findings),
    )
    return tuple(sentence for sentence in sentences if sentence)


def cost_in_words(costs: Costs, batch_size: int) -> str:
    """Return a cost such as "12 seconds of training"; empty if unknown."""
    cost = costs.by_batch_size.get(batch_size)
    if cost is None or costs.kind is None:
        return ""
    if costs.kind == cost_kinds.EXAMPLES_TO_TARGET:
        return f"{number(cost)} {costs.kind}"
    if costs.kind == cost_kinds.JOULES_PER_EXAMPLE:
        return f"{energy(cost)} per example"
    if costs.is_energy:
        return f"{energy(cost)} {costs.kind.removeprefix('joules ')}"
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
    if not findings.others:
        return "It is the only batch size that could be judged, so nothing was compared."
    spent = cost_in_words(costs, size)
    if decision.times:
        return _why_soonest(findings, spent)
    if findings.rule == QUALITY or not spent:
        unknown = "" if spent else "; what each batch size costs is not known, so cost could not decide"
        return f"It has the best mean {findings.objective.name} of the {len(judged.batch_sizes)} compared{unknown}."
    if decision.eligible == (size,):
        told = f"It has the best mean {findings.objective.name}"
        return f"{told}, and no other comes close enough for cost to count ({spent})."
    best = judged.best
    against = f", against {cost_in_words(costs, best)} with {best}, the best mean" if best != size else ""
    told = f"It costs least of {listing(decision.eligible)}, whose mean {findings.objective.name} is close enough to"
    return f"{told} the best: {spent}{against}."


def _why_soonest(findings: Findings, spent: str) -> str:
    pooled, judged = findings.decision.pooled, findings.decision.judged
    value = judged.mean if pooled is None else pooled.mean
    runner_up = max(findings.others, key=value)
    measured = cost_in_words(findings.costs, runner_up)
    how = "with the least energy" if findings.costs.is_energy else "soonest"
    if findings.costs.by_batch_size[runner_up] < findings.costs.by_batch_size[findings.decision.chosen]:
        return (
            f"It is expected to reach {findings.objective.name} {findings.target:g} {how}: {spent} as measured. "
            f"{runner_up} measured {measured}, but its neighbours say that this was luck."
        )
    return (
        f"It reaches {findings.objective.name} {findings.target:g} {how}: {spent}, "
        f"against {measured} with {runner_up}, the next best."
    )


def _evidence(findings: Findings) -> str:
    return _fitted_evidence(findings) or _measured_evidence(findings)


def _fitted_evidence(findings: Findings) -> str:
    """Return what the fits say of the time to target, where they are trusted."""
    law, optimum = findings.explanation.scaling_law, findings.explanation.optimum
    if not findings.decision.times or law is None or optimum is None:
        return ""
    low, high = law.interval
    critical = f"critical batch size {number(law.critical_batch_size)}"
    if low is not None and high is not None:
        critical += f", 90 % interval {number(low)} to {number(high)}"
    place = f"at the {optimum.clipped} size allowed" if optimum.clipped else f"near {number(optimum.batch_size)}"
    zone = f"{number(optimum.flat_zone[0])} to {number(optimum.flat_zone[1])}"
    return f"The fitted time is shortest {place} and within 5 % of that from {zone} ({critical})."


def _measured_evidence(findings: Findings) -> str:
    quality, size = findings.decision.quality, findings.decision.chosen
    error = quality.mean_error(size)
    told = score(findings.mean(size), error)
    seeds = plural(len(findings.chosen.scores), "seed")
    spread = f" with a standard error of {number(error, 2)}" if error else ""
    best = quality.best
    best_told = score(findings.mean(best), error)
    other = "" if best == size or best_told == told else f"; the best mean, with {best}, is {best_told}"
    return f"Its mean {findings.objective.name} over {seeds} is {told}{spread}{other}."


def _how_sure(findings: Findings) -> str:
    judged = findings.decision.judged
    if not findings.others:
        return ""
    if judged.sigma is None:
        return "How sure this is cannot be said: without repeated seeds the noise is unknown."
    tied = findings.tied
    if not tied:
        return f"Every other batch size compared {_is_behind(findings)} by more than the noise, with 90 % confidence."
    seeds = plural(findings.least_seeds, "seed")
    return (
        f"It cannot be told apart from {listing(tied)} with {seeds}{_what_would_separate(findings.seeds_to_separate)}."
    )


def _is_behind(findings: Findings) -> str:
    if not findings.decision.times:
        return f"has a {'lower' if findings.objective.sign > 0 else 'higher'} mean"
    return "takes more energy" if findings.costs.is_energy else "is slower"


def _what_would_separate(seeds_needed: int | None) -> str:
    if seeds_needed is None:
        return ""
    if seeds_needed > MOST_SEEDS:
        return f"; more than {MOST_SEEDS} would be needed to separate them"
    return f"; about {seeds_needed} would begin to separate them, if the gaps are real"


def _cost_of_being_wrong(findings: Findings) -> str:
    decision = findings.decision
    chance, margin, loss = decision.chance_of_loss, decision.margin, decision.expected_loss
    if chance is None or margin is None or loss is None:
        return ""
    if decision.times and findings.costs.is_energy:
        return (
            f"The chance that it takes in truth over {100 * math.expm1(margin):.0f} % more energy than another one "
            f"compared is {percent(chance)}; on average it takes {_small_percent(math.expm1(loss))} more than the best."
        )
    if decision.times:
        return (
            f"The chance that another one compared is in truth more than {100 * math.expm1(margin):.0f} % faster is "
            f"{percent(chance)}; on average the best is {_small_percent(math.expm1(loss))} faster."
        )
    return (
        f"The chance that it is in truth more than {number(margin, 2)} {findings.objective.name} behind the best is "
        f"{percent(chance)}; on average it is {number(loss, 2)} behind."
    )


def _owed_to_rates(findings: Findings) -> str:
    loss = findings.decision.rate_loss
    if loss is None:
        return ""
    spent = "energy" if findings.costs.is_energy else "time"
    return f"About {_small_percent(math.expm1(loss))} of its {spent} is owed to learning rates between those tried."


def _small_percent(share: float) -> str:
    return f"{number(100 * share, 2)} %" if share >= 0.001 else "less than 0.1 %"


def _untested(findings: Findings) -> str:
    tested = [arm.batch_size for arm in findings.arms if arm.scores]
    fixed = "" if any(arm.settings > 1 for arm in findings.arms) else " other learning rates,"
    full = [arm.batch_size for arm in findings.arms if arm.batch_size > tested[-1] and _ran_out_of_memory(arm)]
    reason = f" ({listing(full)} ran out of memory)" if full else ""
    beyond = f"below {tested[0]} or above {tested[-1]}{reason}"
    return f"Not tested:{fixed} batch sizes {beyond}, and any other model, data, budget or machine."


def _ran_out_of_memory(arm: Arm) -> bool:
    return any(trial.status is Status.OUT_OF_MEMORY for trial in arm.all_trials)


_UNITS = ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes"))


def number(value: float, digits: int = 3) -> str:
    """Return `value` to so many significant digits, without an exponent between 1e-4 and 1e9."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    size = math.floor(math.log10(abs(value)))
    if not -5 < size < 9:
        return f"{value:.{digits - 1}e}"
    decimals = max(0, digits - 1 - size)
    return f"{round(value, digits - 1 - size):,.{decimals}f}"


def score(value: float, error: float | None = None) -> str:
    """Return a score to the decimals that its standard error supports (two digits of it), else to four digits."""
    if error is None or error <= 0 or not math.isfinite(error):
        return f"{value:.4g}"
    decimals = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{min(decimals, 8)}f}"


def duration(seconds: float) -> str:
    """Return seconds in the largest unit of which there are at least two."""
    for size, unit in _UNITS:
        if seconds >= 2 * size:
            return f"{number(seconds / size, 2)} {unit}"
    return f"{number(seconds, 2)} seconds" if seconds < 100 else f"{seconds:.0f} seconds"


def energy(joules: float) -> str:
    """Return joules in the largest unit, J, kJ or MJ, of which there are at least two."""
    for size, unit in ((1e6, "MJ"), (1e3, "kJ")):
        if joules >= 2 * size:
            return f"{number(joules / size, 2)} {unit}"
    return f"{number(joules, 2)} J" if joules < 100 else f"{joules:.0f} J"


def percent(share: float) -> str:
    """Return a chance in whole percent, never a flat 0 or 100 for something merely (un)likely."""
    if share < 0.01:
        return "less than 1 %"
    if share > 0.99:
        return "more than 99 %"
    return f"{100 * share:.0f} %"


def listing(items: Sequence[object]) -> str:
    """Return items as "1", "1 and 2" or "1, 2 and 3"."""
    words = [str(item) for item in items]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def plural(count: int, noun: str, nouns: str | None = None) -> str:
    """Return a count with its noun: "1 seed", "3 seeds"."""
    return f"{count} {noun if count == 1 else nouns or noun + 's'}"
