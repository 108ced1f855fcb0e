"""Which batch size to try next, to find the largest that fits in five to seven trainings, ten where memory jumps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tuning.stats.forecast import MemoryLine, fit_memory
from tuning.trial import Status

MOST_PROBES = 7
MOST_WHERE_MEMORY_JUMPS = 10
_FIRST = 8
_LEAP = 16
_SMALL_LEAP = 4
_WORKSPACES = 2  # kernels may need as much again as the tensors of an example
_SURE_SHARE = 0.25
_LEAST_RUNGS = 64  # the first is no more than this part of the training set, so that there is a line
_FLAT_SHARE = 0.7  # of a reach that noise may have made too far
_SHARES = (0.5, 0.8)
_BOLDNESS = 0.9  # of the way that the last stretch of a line promises
_ADAPTING = 1.04  # by which more is tried; bisecting stops at that
_STEP = 1.25  # a rung closer than this to the last one tells nothing new
_RESOLUTION = 1.02
_PRECISION = 1.07  # where what does not fit is more above what does, three more probes are worth while
_NOISE_BYTES = 32 * 2**20  # by which the peak of the same training varies between runs (measured: 10 to 30 MiB)


@dataclass(frozen=True)
class Tried:
    """What one probe told.

    Args:
        batch_size: Examples per update.
        fits: Whether it trained within the limit.
        peak_bytes: Its peak; None if it did not live to tell.
        reason: Why it does not fit; empty if it does.
        status: How it ended: `FAILED` is no shortage of memory that anyone knows of.
    """

    batch_size: int
    fits: bool
    peak_bytes: int | None = None
    reason: str = ""
    status: Status = Status.COMPLETED


@dataclass(frozen=True)
class Next:
    """The next probe.

    Args:
        batch_size: What to try.
        fresh: Whether it takes a new worker. TensorFlow keeps what it has allocated, in pieces that suit the sizes so
            far: a worker that has trained smaller batches peaks 3 to 6 % higher than a new one (measured).
    """

    batch_size: int
    fresh: bool = False


def next_probe(
    tried: Sequence[Tried],
    *,
    limit_bytes: int,
    n_train: int,
    margin: float,
    bytes_per_example: int | None = None,
    adapts: bool = False,
) -> Next | None:
    """Return what to try next, or None when the largest size that fits is known well enough.

    Small sizes, or what the tensors of an example come to, bound the slope from above; then a half and four fifths of
    what they let expect are tried, to fit the line where it matters; then the size that the line predicts. If that
    fits, and the line through it, or its last stretch, promises 2 % more, that is tried, too; if it does not fit, the
    sizes between are bisected. Memory grows with the batch size, so what fits clears all smaller sizes and what does
    not rules out all larger. Seven probes end it, or ten while a size that does not fit is known and more than 7 %
    above all that do.

    Args:
        tried: The probes so far, in order.
        limit_bytes: Memory that training may use.
        n_train: Training examples: no batch is larger.
        margin: Share of the limit that the predicted size leaves free.
        bytes_per_example: More than the tensors of one example ever hold; None if that is not known.
        adapts: Whether kernels take smaller workspaces where memory is short, as a GPU's do, so that a little more may
            fit than the line lets expect; what is left of the probes tries that.
    """
    if not tried:
        return Next(min(_first(limit_bytes, n_train, bytes_per_example if adapts else None), n_train))
    fits = fitting(tried)
    if not fits:
        smallest = min(probe.batch_size for probe in tried)
        has_more = smallest > 1 and len(tried) < MOST_PROBES
        return Next(max(1, smallest // _LEAP), fresh=True) if has_more else None
    top, lost = max(fits), _smallest_lost(tried)
    most = MOST_WHERE_MEMORY_JUMPS if lost is not None and lost > _PRECISION * top + 2 else MOST_PROBES
    if top >= n_train or len(tried) >= most:
        return None
    if lost is None and len(fits) == 1:
        return _second(top, fits[top], limit_bytes, n_train, bytes_per_example)
    if lost is None:
        coming = _along_the_line(fits, len(tried), limit_bytes, n_train, margin, bytes_per_example if adapts else None)
    else:
        coming = _between(fits, lost, limit_bytes, margin)
    a_little_more = min(n_train, int(_ADAPTING * top) + 1)
    is_open = adapts and (lost is None or a_little_more < lost)
    return Next(a_little_more, fresh=True) if coming is None and is_open else coming


def _first(limit_bytes: int, n_train: int, bytes_per_example: int | None) -> int:
    """The first size: as large as is sure to fit where the tensors of an example are known.

    A worker on a GPU keeps a few hundred MiB for itself, in which small sizes tell nothing.
    """
    if not bytes_per_example:
        return _FIRST
    sure = _SURE_SHARE * limit_bytes / (_WORKSPACES * bytes_per_example)
    return max(_FIRST, min(int(sure), n_train // _LEAST_RUNGS))


def _second(top: int, peak_bytes: int, limit_bytes: int, n_train: int, bytes_per_example: int | None) -> Next:
    """The second size: what is sure to fit, or a leap where nothing is known."""
    sure = (limit_bytes - peak_bytes) / (_WORKSPACES * bytes_per_example) if bytes_per_example else 0.0
    leap = _LEAP * top if top <= _FIRST else _SMALL_LEAP * top
    size = min(max(leap, int(sure * _SURE_SHARE)), max(n_train // 4, top + 1))
    return Next(size, fresh=size > leap and sure < 2 * n_train)


def _along_the_line(
    fits: dict[int, int], n_tried: int, limit_bytes: int, n_train: int, margin: float, bytes_per_example: int | None
) -> Next | None:
    """The next size where two and more fit and none does not; None where the line promises no more.

    Where XLA tries the plans of a convolution, a batch of 125 can peak above one of 500 (measured on an H100). Such a
    line tells nothing, and the tensors of an example bound the next size.
    """
    top, reach = max(fits), _reach(fits, limit_bytes)
    has_room = reach >= 2 * n_train
    less = int(top + _FLAT_SHARE * (reach - top))
    if bytes_per_example:
        less = min(less, max(2 * top, int((limit_bytes - fits[top]) / bytes_per_example)))
    if not has_room and _is_flat(fits) and less > _RESOLUTION * top:
        return Next(min(less, n_train), fresh=True)
    if n_tried <= MOST_PROBES - 3 or has_room:
        for share in _SHARES:
            rung = int(share * min(reach, n_train))
            if rung >= _STEP * top:
                return Next(rung, fresh=not has_room)
    candidate = n_train if has_room else min(n_train, _predicted(fits, limit_bytes, margin))
    if candidate <= _RESOLUTION * top:  # the line is too uncertain to promise more, but its last stretch may
        candidate = min(n_train, int(top + _BOLDNESS * (_reach(fits, (1 - margin) * limit_bytes) - top)))
    return Next(candidate, fresh=not has_room) if candidate > _RESOLUTION * top else None


def next_of(tried: Sequence[Tried], sizes: Sequence[int]) -> Next | None:
    """Return which of some given sizes to try next, or None when it is known which of them fit.

    The smallest comes first and the largest next, which give the line; if the largest does not fit, those between are
    bisected.

    Args:
        tried: The probes so far, in order.
        sizes: Ascending.
    """
    if not tried:
        return Next(sizes[0])
    fits = fitting(tried)
    if not fits:
        return None
    if len(tried) == 1:
        return Next(sizes[-1]) if len(sizes) > 1 else None
    lost = _smallest_lost(tried)
    between = [] if lost is None else [size for size in sizes if max(fits) < size < lost]
    return Next(between[len(between) // 2]) if between else None


def fitting(tried: Sequence[Tried]) -> dict[int, int]:
    """Peak bytes of the sizes that fit, by ascending batch size."""
    found = {probe.batch_size: probe.peak_bytes for probe in tried if probe.fits and probe.peak_bytes is not None}
    return dict(sorted(found.items()))


def _smallest_lost(tried: Sequence[Tried]) -> int | None:
    """The smallest size that does not fit; one below a size that fits was lost to something else."""
    top = max(fitting(tried), default=0)
    return min((probe.batch_size for probe in tried if not probe.fits and probe.batch_size > top), default=None)


def line_through(tried: Sequence[Tried]) -> MemoryLine | None:
    """The line through the sizes that fit; None while there are fewer than two."""
    fits = _rising(fitting(tried))
    return fit_memory(fits) if len(fits) > 1 else None


def _rising(fits: dict[int, int]) -> dict[int, int]:
    """The sizes above those whose peak is no more than the runtime's own buffers; all, if that leaves fewer than 3."""
    floor = min(fits.values(), default=0) + _NOISE_BYTES
    rising = {size: peak for size, peak in fits.items() if peak > floor}
    return rising if len(rising) >= 3 else fits


def _between(fits: dict[int, int], lost: int, limit_bytes: int, margin: float) -> Next | None:
    top = max(fits)
    is_settled = len(fits) > 2 and _predicted(fits, limit_bytes, 0.0, is_sure=False) <= _RESOLUTION * top + 1
    if lost <= 2 * _RESOLUTION * top - top + 1 or is_settled:
        return None
    candidate = _predicted(fits, limit_bytes, margin) if len(fits) > 1 else 0
    inside = _RESOLUTION * top < candidate < lost / _RESOLUTION
    halfway = math.isqrt(top * lost) if lost > 2 * top else (top + lost) // 2
    return Next(candidate if inside else halfway, fresh=True)


def _predicted(fits: dict[int, int], limit_bytes: int, margin: float, *, is_sure: bool = True) -> int:
    """The largest size that the line lets fit, leaving free `margin` of the limit, or if it is to be sure the line's
    own uncertainty if that is more; not both, since the size is run before anyone relies on it.
    """
    line = fit_memory(_rising(fits))
    low, high = 0, int(_reach(fits, limit_bytes) * 2)
    while low < high:
        middle = (low + high + 1) // 2
        free = max(margin * limit_bytes, line.prediction_margin(middle) if is_sure else 0.0)
        low, high = (middle, high) if line.bytes(middle) + free <= limit_bytes else (low, middle - 1)
    return low


def _is_flat(fits: dict[int, int]) -> bool:
    """Whether the two largest sizes differ by no more than noise, so that `_reach` is only a lower bound."""
    lower, upper = list(fits.values())[-2:]
    return upper - lower < _NOISE_BYTES


def _reach(fits: dict[int, int], limit_bytes: float) -> float:
    """The batch size at which the limit would be met by the two largest sizes; a lower bound while noise rules."""
    (lower, lower_peak), (upper, upper_peak) = list(fits.items())[-2:]
    slope = max(upper_peak - lower_peak, _NOISE_BYTES) / (upper - lower)
    return upper + max(0.0, limit_bytes - upper_peak) / slope
