"""Which batch sizes to train on one more fresh seed: those that save most expected loss per second of training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tuning.objective import Objective
from tuning.stats.arms import group_into_arms
from tuning.stats.costs import Costs, arm_costs
from tuning.stats.decision import Decision, decide, is_worse
from tuning.stats.efficiency import NOISE
from tuning.stats.pooling import Pooled
from tuning.stats.reaches import LEAST_SIGMA
from tuning.stats.rules import FASTEST, TIME, TOLERANCE_LOSS, check_rule
from tuning.trial import Trial

Array = npt.NDArray[np.float64]

MOST_SEEDS = 5
ENOUGH = 0.10
LEAST_GAIN = 0.02
"""A seed that is expected to save less than this share of the tolerance is not worth its training; the first of
several may save little."""
POSSIBLE = 0.01
"""A batch size that is the best with less than this chance after one seed is not trained on a second."""
_DRAWS = 512


def sizes_worth_another_seed(
    trials: Sequence[Trial],
    *,
    objective: Objective,
    rule: str = FASTEST,
    tolerance: float | None = None,
    target: float | None = None,
    throughput: Mapping[int, float] | None = None,
    throughput_errors: Mapping[int, float] | None = None,
    cost: str = TIME,
    least_seeds: int = 1,
    most_seeds: int = MOST_SEEDS,
    tolerance_loss: float = TOLERANCE_LOSS,
) -> tuple[int, ...]:
    """Return the batch sizes, ascending, to train once more with one fresh seed, the same for all; empty if enough.

    Where times to a target decide: enough is where the pick is expected to lose less than `tolerance_loss` of its time
    to the best. Else the pick and the leading j of the others share the seed, for the j whose knowledge gradient is
    largest per second of training; none if that gains less than a fiftieth of the tolerance, because errors of clocks
    and learning rates do not fall with seeds.

    Where scores decide: the pick and all that it cannot be told from go on, until the chance that the pick loses more
    than the margin (`Decision.chance_of_loss`) falls below 10 %.

    With the noise still unknown every batch size goes on; where times decide and two seeds or more are planned, those
    alone that are the best with a chance of 1 % or more, by what the noise usually is.

    None gets more than `most_seeds`.

    Args:
        trials: The trials so far; those of stage "confirm" decide where there are any.
        objective: The metric that decides.
        rule: The rule, as in `recommend`.
        tolerance: The accepted loss of score, as in `recommend`.
        target: The score to reach, as in `recommend`.
        throughput: Examples per second by batch size, as in `recommend`.
        throughput_errors: Their errors, as in `recommend`.
        cost: "time" or "energy", as in `recommend`.
        least_seeds: The seeds planned for a batch size that may be the best, whatever they gain.
        most_seeds: The seeds that no batch size gets more of.
        tolerance_loss: The expected loss, as a share of the time, below which no further seed is asked for.

    Raises:
        ValueError: If the rule is unknown.

    Source: Frazier, Powell and Dayanik, A knowledge-gradient policy for sequential information collection (2008); Chick
        and Inoue, New Two-Stage and Sequential Procedures (2001), for stopping by the expected loss.
    """
    check_rule(rule)
    if not any(trial.scored for trial in trials):
        return ()
    arms = group_into_arms(trials, objective=objective, target=target)
    costs = arm_costs(
        arms, objective=objective, target=target, throughput=throughput, cost=cost, throughput_errors=throughput_errors
    )
    decision = decide(arms, costs, objective=objective, rule=rule, tolerance=tolerance, target=target)
    judged = decision.judged
    if judged.sigma is None and least_seeds > 1 and decision.times is not None and decision.pooled is not None:
        return _possible(decision.chosen, decision.pooled)
    seeds = {arm.batch_size: len(arm.scores) for arm in arms}
    racing = [size for size in judged.batch_sizes if size == decision.chosen or not is_worse(size, decision)]
    open_to_more = tuple(size for size in racing if seeds[size] < most_seeds)
    if len(racing) < 2 or len(open_to_more) < 2:
        return ()
    if decision.times is not None and decision.pooled is not None:
        return _block(decision, costs, open_to_more, tolerance_loss)
    chance = decision.chance_of_loss
    return () if judged.sigma is not None and chance is not None and chance < ENOUGH else open_to_more


def _possible(chosen: int, pooled: Pooled) -> tuple[int, ...]:
    """Return the pick with those that may be the best; all, where that is the pick alone: one says nothing of noise."""
    sizes = pooled.batch_sizes
    found = tuple(size for size in sizes if size == chosen or pooled.chance_of_best(size) >= POSSIBLE)
    return found if len(found) > 1 else sizes


def _block(decision: Decision, costs: Costs, sizes: Sequence[int], tolerance_loss: float) -> tuple[int, ...]:
    """Return the batch sizes that share the next seed: the pick with the leaders, as many as gain most per second."""
    pooled, loss, judged = decision.pooled, decision.expected_loss, decision.judged
    assert pooled is not None
    if loss is None or loss < math.log1p(tolerance_loss):
        return ()
    ranked = sorted(sizes, key=lambda size: (size != decision.chosen, -pooled.mean(size)))
    covariance = np.cov(pooled.draws, rowvar=False)
    means = np.array(pooled.means)
    sigma = NOISE.sigma if judged.sigma is None else max(LEAST_SIGMA, judged.sigma)
    places = {size: i for i, size in enumerate(pooled.batch_sizes)}
    found: list[tuple[float, float, tuple[int, ...]]] = []
    for count in range(2, len(ranked) + 1):
        block = ranked[:count]
        rows = [places[size] for size in block]
        seeds, shared = (np.array(each, dtype=float)[rows] for each in (judged.seeds, judged.shared))
        gain = knowledge_gradient(means, covariance, Seen(rows, sigma**2, sigma**2 / seeds, shared))
        seconds = sum(costs.by_batch_size[size] for size in block)
        found.append((gain / seconds, gain, tuple(sorted(block))))
    _, gain, block_of_most = max(found)
    return block_of_most if gain >= LEAST_GAIN * math.log1p(tolerance_loss) else ()


@dataclass(frozen=True)
class Seen:
    """Alternatives that may be seen with one seed more.

    Args:
        rows: Which; at least two.
        variance: sigma^2, that of one run.
        errors: (j,) float64, E, the variance that the runs so far leave in the mean of each.
        shared: (j,) float64, D, the variance of what all runs of an alternative share and no seed can tell.
    """

    rows: Sequence[int]
    variance: float
    errors: Array
    shared: Array


def knowledge_gradient(means: Array, covariance: Array, seen: Seen) -> float:
    """Return by how much the best posterior mean is expected to rise once some alternatives are seen once more.

        E[max_i (m + S Z)_i] - max_i m_i,   S S' = A'(H (V + sigma^2 I) H')^-1 A
        A = H G C,   V = G C G + G D,   G = E/(E + D)

    H takes the differences between those alternatives, because the effect of the seed is common to them. G is the share
    of what is not known of a mean that seeds can tell; V is exactly the variance of what runs would be without noise
    where the prior is wide, and where it is narrow. The expectation over Z is a mean over 512 fixed normal draws and
    their negatives.

    Args:
        means: (k,) float64, m.
        covariance: (k, k) float64, C, that of the true means given what is known.
        seen: What is to be seen.

    Source: Frazier, Powell and Dayanik, The Knowledge-Gradient Policy for Correlated Normal Beliefs (2009), section 3.
    """
    chosen = list(seen.rows)
    contrasts = np.linalg.svd(np.ones((1, len(chosen))))[2][1:]
    share = seen.errors / (seen.errors + seen.shared)
    across = contrasts @ (share[:, None] * covariance[chosen])
    inner = share[:, None] * covariance[np.ix_(chosen, chosen)] * share
    noise = np.diag(share * seen.shared + seen.variance)
    gain = across.T @ np.linalg.solve(contrasts @ (inner + noise) @ contrasts.T, across)
    values, vectors = np.linalg.eigh(gain)
    root = vectors * np.sqrt(np.maximum(values, 0))
    normal = np.random.default_rng(0).standard_normal((_DRAWS, len(means))) @ root.T
    best = np.concatenate([(means + normal).max(axis=1), (means - normal).max(axis=1)])
    return float(best.mean() - means.max())
