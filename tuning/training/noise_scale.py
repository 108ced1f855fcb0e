"""The gradient noise scale from gradients of frozen weights: unbiased estimates, a jackknife interval, or a refusal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

GROUPS = 16
LEAST_GROUPS = 8
LEVEL = 0.95  # one-sided, so that the interval holds 90 %


@dataclass(frozen=True)
class GradientStatistics:
    """What M gradients of micro-batches, drawn without replacement, leave to be known: two small arrays.

    Args:
        micro_batch_size: b, examples per gradient.
        group_size: m, gradients per group; M = J*m.
        n_train: N, examples that were drawn from.
        squared_norms: Sum over each group of |g_j|^2, `(J,) float64`.
        products: Inner products of the groups' gradient sums, `(J, J) float64`.
    """

    micro_batch_size: int
    group_size: int
    n_train: int
    squared_norms: npt.NDArray[np.float64]
    products: npt.NDArray[np.float64]

    def estimate(self, left_out: int | None = None) -> tuple[float, float]:
        """Unbiased estimates of tr(Sigma) and |G|^2, of all groups or of all but one.

            full = |mean g_j|^2
            S    = b * M/(M-1) * (mean |g_j|^2 - full)
            G2   = full - S * (1/n - 1/N),     n = b*M

        Sigma is the covariance of one example's gradient with divisor N-1, G the gradient of the training set.
        """
        kept = np.arange(len(self.squared_norms)) != left_out
        count = int(kept.sum()) * self.group_size
        full = float(self.products[np.ix_(kept, kept)].sum()) / count**2
        mean_square = float(self.squared_norms[kept].sum()) / count
        trace = self.micro_batch_size * count / (count - 1) * (mean_square - full)
        examples = self.micro_batch_size * count
        return trace, full - trace * (1 / examples - 1 / self.n_train)


@dataclass(frozen=True)
class NoiseScale:
    """The gradient noise scale with its interval.

    Args:
        value: B_simple = tr(Sigma)/|G|^2 in examples; None if |G|^2 is not distinguishable from 0.
        low: Lower end of the 90 % interval; known where `value` is not, too, unless tr(Sigma) is not positive.
        high: Upper end; None where `value` is.
        trace_of_covariance: The estimate of tr(Sigma).
        squared_gradient_norm: The estimate of |G|^2, which may be negative.
    """

    value: float | None
    low: float | None
    high: float | None
    trace_of_covariance: float
    squared_gradient_norm: float


def noise_scale(statistics: GradientStatistics) -> NoiseScale:
    """Estimate B_simple = tr(Sigma)/|G|^2, the batch size at which noise and signal of a gradient are equal.

    The interval comes from leaving out one group at a time: with l_q = log(S_q/G2_q) and J groups,

        se = sqrt((J-1)/J * sum (l_q - mean l)^2),     B_simple * exp(+- t(J-1; 0.95) * se).

    Where the jackknife interval of |G|^2 reaches 0 the ratio has no upper end, and only
    `B_simple >= S / (upper end of |G|^2)` is told.

    Source: McCandlish et al., An Empirical Model of Large-Batch Training (2018), appendix A.1; Efron and Tibshirani,
        An Introduction to the Bootstrap (1993), chapter 11, for the jackknife.
    """
    groups = len(statistics.squared_norms)
    trace, squared_norm = statistics.estimate()
    parts = np.array([statistics.estimate(left_out) for left_out in range(groups)])
    quantile = float(stats.t.ppf(LEVEL, groups - 1))
    spread = quantile * _jackknife_error(parts[:, 1])
    if trace <= 0:
        return NoiseScale(None, None, None, trace, squared_norm)
    if squared_norm - spread <= 0 or (parts <= 0).any():
        upper = squared_norm + spread
        return NoiseScale(None, trace / upper if upper > 0 else None, None, trace, squared_norm)
    value = trace / squared_norm
    factor = float(np.exp(quantile * _jackknife_error(np.log(parts[:, 0] / parts[:, 1]))))
    return NoiseScale(value, value / factor, value * factor, trace, squared_norm)


def grouping(n_examples: int, micro_batch_size: int) -> tuple[int, int, int]:
    """The micro-batch size b, the number of groups J and the gradients per group m for so many examples.

    b is what was asked for, or less where that would leave fewer than 8 gradients. J lies between 8 and 16 and is
    chosen so that J*m*b uses as many of the examples as it can; of equals the most groups.

    Raises:
        ValueError: If there are fewer than 8 examples.

    >>> grouping(4096, 32)
    (32, 16, 8)
    >>> grouping(1437, 32)
    (32, 11, 4)
    """
    if n_examples < LEAST_GROUPS:
        raise ValueError(f"A noise scale needs {LEAST_GROUPS} examples or more; got {n_examples}.")
    size = min(micro_batch_size, n_examples // LEAST_GROUPS)
    count = n_examples // size
    groups = max(range(LEAST_GROUPS, min(GROUPS, count) + 1), key=lambda j: (j * (count // j), j))
    return size, groups, count // groups


def _jackknife_error(values: npt.NDArray[np.float64]) -> float:
    return float(np.sqrt((len(values) - 1) / len(values) * np.sum((values - values.mean()) ** 2)))
