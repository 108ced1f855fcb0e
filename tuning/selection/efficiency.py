"""What is expected of the examples to a target before they are measured, and the measured ones pooled with it."""

from __future__ import annotations

import numpy as np

from tuning.selection.comparison import Comparison
from tuning.selection.pooling import Expectation, Noise, Pooled, pool

# ln(examples) grows with ln B by between 0 (perfect scaling) and 1 (no gain).
SLOPE, SLOPE_ERROR = 0.5, 3.0
LAW_WEIGHT = 0.25
CRITICAL_SIZES = 8
# One training's ln(examples) deviates by about a tenth, which counts as four repeats: the median of Zeus's workloads.
NOISE = Noise(sigma=0.1, degrees_of_freedom=4.0)


def pool_efficiencies(comparison: Comparison) -> Pooled | None:
    """Return the posterior of -ln(examples to the target), from a comparison of it.

    Two expectations, both only roughly true: with weight 3/4 a straight line in ln B with a slope of about -1/2, and
    with 1/4 the law `E = E_min*(1 + B/B_crit)`, B_crit anywhere from a third of the smallest batch size to four times
    the largest. The law is left out where no batch size was repeated, because its misfit then cannot be told from
    noise: on Zeus's traces, whose learning rates were not tuned, it made single runs pick worse than the measured
    minimum. With repeats it does little harm there and, where the law holds, saves a third of the excess time.

    Source: McCandlish et al., An Empirical Model of Large-Batch Training (2018), for the law.
    """
    sizes = np.array(comparison.batch_sizes, dtype=float)
    expectations = [Expectation(-SLOPE * np.log(sizes)[None, :], SLOPE_ERROR, 1 - LAW_WEIGHT)]
    if comparison.sigma is not None:
        critical = np.exp(np.linspace(np.log(sizes[0]) - 1, np.log(sizes[-1]) + 1.5, CRITICAL_SIZES))
        curves = -np.log1p(sizes[None, :] / critical[:, None])
        expectations.append(Expectation(curves, weight=LAW_WEIGHT))
    return pool(comparison, expectations, NOISE)
