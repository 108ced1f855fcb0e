"""Where a search should look, from what fits, how fast it runs and how noisy its gradient is."""

from __future__ import annotations

import math

from tuning.stats.lines import ThroughputLine

_BELOW, _ABOVE = 3, 2  # powers of two on either side of the centre
_UPDATES_PER_EPOCH = 8


def centre_of_search(line: ThroughputLine | None, knee: int | None, noise_scale: float | None) -> float | None:
    """The batch size expected to reach a target in the least time: B* = sqrt(B_noise * t0/c).

    Without a trusted line the knee stands for t0/c; without a noise scale, the knee is all there is to say.

    Args:
        line: Seconds per update of the loop that trains.
        knee: The smallest size with 90 % of the best throughput.
        noise_scale: Of the gradient over the training, taken for the critical batch size.

    Source: Qiao et al., Pollux (2021), for the form; the noise scale predicts the critical batch size only roughly.
    """
    half = line.size_with_share(0.5) if line is not None and line.accepted else None
    if noise_scale is None:
        return knee
    if half is not None and 0 < half < math.inf:
        return math.sqrt(noise_scale * half)
    return math.sqrt(noise_scale * knee) if knee is not None else noise_scale


def suggested_batch_sizes(centre: float | None, *, largest: int, n_train: int) -> tuple[int, ...]:
    """Six powers of two around the centre, moved down where they would not fit or leave fewer than 8 updates an epoch.

    >>> suggested_batch_sizes(100.0, largest=10_000, n_train=60_000)
    (16, 32, 64, 128, 256, 512)
    >>> suggested_batch_sizes(100.0, largest=48, n_train=60_000)
    (1, 2, 4, 8, 16, 32)
    """
    ceiling = min(largest, max(1, n_train // _UPDATES_PER_EPOCH))
    if ceiling < 1:
        return ()
    top = ceiling.bit_length() - 1
    middle = top - _ABOVE if centre is None else round(math.log2(max(1.0, centre)))
    high = min(top, max(middle + _ABOVE, _BELOW + _ABOVE))
    low = max(0, high - _BELOW - _ABOVE)
    return tuple(2**power for power in range(low, high + 1))
