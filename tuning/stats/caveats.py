"""The warnings of a recommendation: what the data lack, each with what would settle it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tuning.stats.arms import Arm
from tuning.stats.comparison import Comparison
from tuning.stats.decision import unconfirmed
from tuning.stats.findings import Findings
from tuning.stats.reasons import listing, number, percent, plural
from tuning.stats.rules import ENERGY, TIME
from tuning.trial import Status, Trial

ENOUGH_SEEDS = 3
LIKELY, FURTHER = 0.1, 0.1
"""Where one batch size alone stands out, a mean chance of a loss is too low: told if that is so likely, by so much."""
LEAST_EXACT = 6  # below, no exact paired test can reach 5 %


def caveats_of(findings: Findings) -> tuple[str, ...]:
    """Return the warnings that apply."""
    caveats = (
        _obstacle(findings),
        _no_energy(findings),
        _too_few_seeds(findings),
        _missing_seeds(findings),
        _unpaired(findings.decision.quality),
        _unstable(findings),
        _outlier(findings),
        _isolated(findings),
        _edge(findings),
        _outermost(findings),
        _optimism(findings),
        _not_confirmed(findings),
        _stopped_early(findings),
        _restored(findings),
        _not_reached(findings),
        _counted_misses(findings),
        _unidentified(findings),
        _exact_test(findings),
    )
    return tuple(caveat for caveat in caveats if caveat)


def _obstacle(findings: Findings) -> str:
    obstacle = findings.decision.obstacle
    return f"{obstacle[0].upper()}{obstacle[1:]}; the pick is the best of those that ran." if obstacle else ""


def _no_energy(findings: Findings) -> str:
    if findings.cost != ENERGY or findings.costs.is_energy:
        return ""
    return f"Energy was to decide, but is not known{energy_note(findings.arms)}; {TIME} decided instead."


def energy_note(arms: Sequence[Arm]) -> str:
    """Return for which batch sizes no energy is known and why, after "is not known"; empty if it is known for all."""
    lacking = [arm for arm in arms if arm.scores and not any(_joules(trial) for trial in arm.all_trials)]
    if not lacking:
        return ""
    notes = [trial.outcome.energy_note for arm in lacking for trial in arm.all_trials if trial.outcome is not None]
    why = next(filter(None, notes), "no trial logged it")
    return f" for {listing([arm.batch_size for arm in lacking])}: {why}"


def _joules(trial: Trial) -> float | None:
    outcome = trial.outcome if trial.scored else None
    return None if outcome is None else outcome.joules_per_example or outcome.energy_joules


def _too_few_seeds(findings: Findings) -> str:
    judged, size = findings.decision.judged, findings.decision.chosen
    if len(judged.batch_sizes) == 1:
        return ""
    if judged.sigma is None:
        return (
            "The noise is unknown, because no setting was repeated with another seed: "
            f"{size} merely has the best mean. Run it with {ENOUGH_SEEDS} seeds or more."
        )
    told = {size, *findings.tied}  # a batch size that is worse beyond doubt needs no more
    least = min(count for each, count in zip(judged.batch_sizes, judged.seeds, strict=True) if each in told)
    if least >= ENOUGH_SEEDS:
        return ""
    return f"{plural(least, 'seed')} per batch size say little about the noise; {ENOUGH_SEEDS} or more are advised."


def _missing_seeds(findings: Findings) -> str:
    compared = [findings.arm(size) for size in findings.decision.quality.batch_sizes]
    planned = findings.planned_seeds or max(len(arm.scores) for arm in compared)
    short = [f"{arm.batch_size} ({len(arm.scores)} of {planned})" for arm in compared if len(arm.scores) < planned]
    if not short:
        return ""
    adjusted = "; means are adjusted by the seeds in common, and errors are wider"
    return f"There are fewer seeds of {listing(short)}{adjusted if len(compared) > 1 else ''}."


def _unpaired(quality: Comparison) -> str:
    if quality.blocked or len(quality.batch_sizes) < 2 or quality.sigma is None:
        return ""
    return "The batch sizes share too few seeds to be paired, so the spread between seeds counts as noise."


def _unstable(findings: Findings) -> str:
    wild = findings.decision.quality.unstable
    if not wild:
        return ""
    return (
        f"The {findings.objective.name} of {listing(wild)} spreads over four times as wide between seeds as the "
        "others': one training may come out far from the mean. The errors of the others are estimated without it."
    )


def _outlier(findings: Findings) -> str:
    pooled = findings.decision.pooled
    if pooled is None or pooled.outlier is None:
        return ""
    return (
        f"{pooled.outlier} lies over three standard deviations from what the other batch sizes would say of it, so the "
        "chances stated are those of the plain comparison, each batch size by itself."
    )


def _isolated(findings: Findings) -> str:
    """Return how likely a loss is if one batch size stands out from all others, where that is not told by the mean."""
    decision = findings.decision
    pooled, margin, stated = decision.pooled, decision.margin, decision.chance_of_loss
    if pooled is None or margin is None or stated is None:
        return ""
    likely, chance = pooled.if_isolated(decision.chosen, margin)
    if likely < LIKELY or chance - stated < FURTHER:
        return ""
    return (
        "The chance stated is a mean over the courses that the truth may take from size to size. If one batch size "
        f"alone stands out from the others, which is possible ({percent(likely)}), it is {percent(chance)}."
    )


def _edge(findings: Findings) -> str:
    edges = [f"{a.batch_size} ({a.edge})" for a in findings.arms if a.scores and a.edge]
    if not edges:
        return ""
    return f"The best learning rate is at an end of those tried for {listing(edges)}; try further out."


def outermost_side(findings: Findings) -> str:
    """Return "smaller" or "larger" if the pick has no neighbour there; empty if it has, or nothing lies beyond it.

    A batch size that ran and failed is a neighbour, too.
    """
    sizes, size = [arm.batch_size for arm in findings.arms], findings.decision.chosen
    one_update = any(trial.reports and trial.reports[0].examples_seen <= size for trial in findings.chosen.trials)
    if len(sizes) == 1 or min(sizes) < size < max(sizes) or size == 1 or (size == max(sizes) and one_update):
        return ""  # nothing lies beyond a single example, or an epoch of one update
    return "smaller" if size == min(sizes) else "larger"


def _outermost(findings: Findings) -> str:
    side = outermost_side(findings)
    if not side:
        return ""
    end = "smallest" if side == "smaller" else "largest"
    return f"{findings.decision.chosen} is the {end} batch size tried; {side} ones may be better still."


def _optimism(findings: Findings) -> str:
    arm = findings.chosen
    if arm.confirmed or arm.settings < 2:
        return ""
    return (
        f"Its score is the best of {arm.settings} settings tried with the same seeds, hence too good on average; "
        "fresh seeds would tell."
    )


def _not_confirmed(findings: Findings) -> str:
    missing = unconfirmed(findings.arms)
    if not missing:
        return ""
    return f"{listing(missing)} ran in the search only, not on fresh seeds, and could not be picked."


def _stopped_early(findings: Findings) -> str:
    pruned = [arm.batch_size for arm in findings.arms if arm.scores and Status.PRUNED in arm.lost.values()]
    if not pruned:
        return ""
    return (
        f"Some seeds of {listing(pruned)} were stopped early because they were behind, so that the mean shown is over "
        "the better ones; such batch sizes are not picked."
    )


def _restored(findings: Findings) -> str:
    ended = [(trial.outcome, len(trial.reports)) for arm in findings.arms for trial in arm.trials]
    kept = [(outcome.weights_epoch or last, last) for outcome, last in ended if outcome is not None]
    epochs = {epoch for epoch, last in kept if epoch < last}
    if not epochs:
        return ""
    span = f"epoch {min(epochs)}" if len(epochs) == 1 else f"epochs {min(epochs)} to {max(epochs)}"
    return (
        f"EarlyStopping kept the best weights, so that scores are those of {span}: if they were picked by the same "
        "metric, they are a little too good."
    )


def _not_reached(findings: Findings) -> str:
    costs = findings.costs
    if findings.target is None:
        return ""
    told = [
        f"{size} ({missed} of {len(crossings)} seeds)"
        for size, crossings in costs.crossings.items()
        if (missed := costs.missed(size))
    ]
    return f"The target {findings.target:g} was not reached by {listing(told)} within the budget." if told else ""


def _counted_misses(findings: Findings) -> str:
    """Return how misses count in the costs of the batch sizes that were compared all the same."""
    costs, chosen = findings.costs, findings.decision.chosen
    sizes = [size for size in findings.decision.quality.batch_sizes if costs.reached(size) and costs.missed(size)]
    if not sizes:
        return ""
    told = (
        f"What is told of {listing(sizes)} counts the misses: a training that was late is let train on, one that is "
        "stuck starts again with another seed."
    )
    if chosen not in sizes:
        return told
    share = f"{costs.missed(chosen)} of {plural(len(costs.crossings[chosen]), 'seed')}"
    return f"{share} missed the target with {chosen}: give a training with it more epochs, or another seed. {told}"


def _unidentified(findings: Findings) -> str:
    law = findings.explanation.scaling_law
    if law is None or law.identified:
        return ""
    low, high = law.interval
    bounds = [f"at least {number(low)}"] if low is not None else []
    bounds += [f"at most {number(high)}"] if high is not None else []
    bound = f" (90 %: {' and '.join(bounds)})" if bounds else ""
    return f"The critical batch size is not identified{bound}: {law.doubts[0]}."


def _exact_test(findings: Findings) -> str:
    """Return a warning if, with six seeds or more, a test without assumptions contradicts the verdict on the pick."""
    quality, chosen = findings.decision.quality, findings.chosen
    best = findings.arm(quality.best)
    shared = sorted(set(chosen.scores) & set(best.scores))
    if best is chosen or len(shared) < LEAST_EXACT:
        return ""
    p = permutation_p_value([best.scores[s] - chosen.scores[s] for s in shared])
    if p > max(0.05, smallest_p_value(len(shared))):
        return ""
    return (
        f"An exact paired permutation test over {len(shared)} seeds finds {best.batch_size} better than the pick "
        f"(two-sided p = {number(p, 2)}), though by no more than is tolerated."
    )


Array = npt.NDArray[np.float64]


def smallest_p_value(seeds: int) -> float:
    """Return the least two-sided p that a paired permutation or Wilcoxon test of n differences can reach: 2/2^n."""
    return min(1.0, 2.0 ** (1 - seeds))


def permutation_p_value(differences: Sequence[float] | Array) -> float:
    """Return the two-sided p of the exact paired permutation test.

    It is the share of sign flips whose sum lies at least as far from 0 as the measured one.

    All 2^n flips are counted up to n = 16, beyond that 65 536 random ones (fixed generator).

    Args:
        differences: (n,) float64, one paired difference per seed.

    Raises:
        ValueError: If there are no differences.

    Source: Fisher, The Design of Experiments (1935), section 21.
    """
    values = np.asarray(differences, dtype=float)
    if values.size == 0:
        raise ValueError("permutation_p_value needs at least one paired difference; got none.")
    if values.size <= 16:
        bits = np.arange(2**values.size)[:, None] >> np.arange(values.size) & 1
    else:
        bits = np.random.default_rng(0).integers(0, 2, (2**16, values.size))
    sums = np.abs((2 * bits - 1) @ values)
    return float(np.mean(sums >= abs(values.sum()) - 1e-12 * np.abs(values).sum()))
