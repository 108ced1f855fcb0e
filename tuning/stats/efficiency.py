"""The posterior of the times to a target: what is expected of them, and the errors of clocks and learning rates."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from tuning.objective import Objective
from tuning.stats.arms import Arm
from tuning.stats.comparison import Comparison
from tuning.stats.costs import SECONDS_TO_TARGET, Costs
from tuning.stats.forecast import fit_throughput
from tuning.stats.pooling import Expectation, Noise, Pooled, pool
from tuning.stats.rate_profile import RateLoss, Reach, rate_profiles
from tuning.stats.reaches import TYPICAL_SIGMA, above_rule, reaches_of, run_noise
from tuning.stats.runs import runs_of

Array = npt.NDArray[np.float64]

# ln(examples) grows with ln B by between 0 (perfect scaling) and 1 (no gain).
SLOPE, SLOPE_ERROR = 0.5, 3.0
LAW_WEIGHT = 0.25
CRITICAL_SIZES = 5
# In units of one training's noise: about 5 % of time, by which batch sizes deviate from any smooth course.
OWN = 0.5
# One training's ln(examples) deviates by about a tenth, which counts as four repeats: the median of Zeus's workloads.
NOISE = Noise(sigma=TYPICAL_SIGMA, degrees_of_freedom=4.0)
_LEAST_TIMED = 4


def pool_times(
    efficiencies: Mapping[int, Mapping[int, float]],
    comparison: Comparison,
    costs: Costs,
    losses: Mapping[int, RateLoss] | None = None,
) -> Pooled | None:
    """Return the posterior of -ln(cost to the target), each batch size at its best learning rate, misses included.

    Two expectations, both only roughly true: with weight 3/4 a straight line of ln E in ln B with a slope of about 1/2,
    and with 1/4 the law `E = E_min*(1 + B/B_crit)`, B_crit anywhere from a third of the smallest batch size to four
    times the largest; both with smooth seconds per update. The law is left out where no
    batch size was repeated, because its misfit then cannot be told from noise: on Zeus's traces, whose learning rates
    were not tuned, it made single runs pick worse than the measured minimum. With repeats it does little harm there
    and, where the law holds, saves a third of the excess time.

    Args:
        efficiencies: -ln(examples to the target) by seed, by batch size.
        comparison: Their comparison.
        costs: The clock's rates with their errors.
        losses: What the learning rates taken cost; nothing by default.

    Source: McCandlish et al., An Empirical Model of Large-Batch Training (2018), for the law.
    """
    sizes = comparison.batch_sizes
    owed = losses or {}
    runs = runs_of(efficiencies, blocked=comparison.blocked, inflation=comparison.inflation)
    runs = runs.shifted({size: costs.log_rate(size) + (owed[size].mean if size in owed else 0.0) for size in sizes})
    variances = {size: _rate_variance(size, costs, owed) for size in sizes}
    rates = _expected_log_rates(sizes, costs)
    logs = runs.logs
    own = 0.0 if comparison.sigma is None else OWN
    expectations = [Expectation((rates - SLOPE * logs)[None, :], SLOPE_ERROR, 1 - LAW_WEIGHT, own)]
    if comparison.sigma is not None:
        critical = np.exp(np.linspace(logs[0] - 1, logs[-1] + 1.5, CRITICAL_SIZES))
        curves = rates - np.log1p(np.exp(logs)[None, :] / critical[:, None])
        expectations.append(Expectation(curves, weight=LAW_WEIGHT, own=own))
    pooled = pool(runs, expectations, NOISE, variances)
    return None if pooled is None else _with_misses(pooled, costs)


def shared_variances(sizes: Sequence[int], costs: Costs, losses: Mapping[int, RateLoss]) -> dict[int, float]:
    """Return the variance of what all runs of a batch size share: the errors of its clock, learning rate and misses."""
    return {size: _rate_variance(size, costs, losses) + costs.miss_loss(size).variance for size in sizes}


def _rate_variance(size: int, costs: Costs, losses: Mapping[int, RateLoss]) -> float:
    return costs.log_rate_error(size) ** 2 + (losses[size].variance if size in losses else 0.0)


def _with_misses(pooled: Pooled, costs: Costs) -> Pooled:
    """Return the posterior less what misses cost, which is positive and skewed: a gamma distribution of its moments.

    It is added last because it is no smooth function of the batch size: neighbours must not explain it away.
    """
    means, draws, random = list(pooled.means), pooled.draws.copy(), np.random.default_rng(1)
    for i, size in enumerate(pooled.batch_sizes):
        loss = costs.miss_loss(size)
        means[i] -= loss.mean
        if loss.mean > 0 and loss.variance > 0:
            draws[:, i] -= random.gamma(loss.mean**2 / loss.variance, loss.variance / loss.mean, len(draws))
        else:
            draws[:, i] -= loss.mean
    return dataclasses.replace(pooled, means=tuple(means), draws=draws)


def _expected_log_rates(sizes: Sequence[int], costs: Costs) -> Array:
    """Return ln(examples per second) by the line of seconds per update, else by a parabola in ln B.

    With three batch sizes or fewer they are those measured.
    """
    measured = np.array([costs.log_rate(size) for size in sizes])
    if costs.kind != SECONDS_TO_TARGET or len(sizes) < _LEAST_TIMED:
        return measured
    line = fit_throughput({size: size / costs.examples_per_second[size] for size in sizes})
    if line.accepted:
        return np.array([math.log(size / line.seconds(size)) for size in sizes])
    logs = np.log(np.array(sizes, dtype=float))
    return np.asarray(np.polyval(np.polyfit(logs, measured, 2), logs))


def losses_of_rates(
    arms: Sequence[Arm], target: float, objective: Objective, sigma: float | None
) -> dict[int, RateLoss]:
    """Return what the learning rate taken costs each batch size, from the trainings that sought it (`rate_profiles`).

    Args:
        arms: Every batch size at its best setting.
        target: The score to reach.
        objective: The metric that decides.
        sigma: The standard deviation of ln(examples to the target) between seeds; None for a typical one.
    """
    by_size: dict[int, list[Reach]] = {}
    for arm in arms:
        alike = [trial for trial in arm.all_trials if trial.hyperparameters == arm.hyperparameters]
        by_size.update(reaches_of(alike, target, objective))
    profiles = rate_profiles(by_size, run_noise(sigma))
    taken = {arm.batch_size: arm.learning_rate for arm in arms if arm.learning_rate is not None}
    return {size: profiles[size].loss(above_rule(rate, size)) for size, rate in taken.items() if size in profiles}
