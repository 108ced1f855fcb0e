"""Find the largest batch size that fits, by trainings of a few updates in workers of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuning.execution.executor import Executor
from tuning.execution.memory_limit import MemoryLimit
from tuning.probes import MemoryProbe, MemoryProbeRequest
from tuning.probing.asking import ask_again
from tuning.probing.memory_ladder import Tried, fitting, line_through, next_of, next_probe
from tuning.selection.memory_line import LARGEST_RESIDUAL, MemoryLine
from tuning.trial import HyperparameterValue, Status, TrialOutcome

ENFORCED_MARGIN = 0.005
MARGIN = 0.10
EXTRA_MARGIN = 0.05


@dataclass(frozen=True)
class MemoryFindings:
    """What fits.

    Args:
        probes: Every size tried, in order.
        limit: Memory that training may use.
        margin: Share of the limit that a predicted size leaves free.
        n_train: Training examples: no batch is larger.
        loop: The loop that was probed.
    """

    probes: tuple[Tried, ...]
    limit: MemoryLimit
    margin: float
    n_train: int
    loop: str

    @property
    def line(self) -> MemoryLine | None:
        """Peak bytes by batch size; None if fewer than two sizes fit."""
        return line_through(self.probes)

    @property
    def largest_batch_size(self) -> int:
        """The largest size that really trained within the limit; 0 if none did."""
        return max(fitting(self.probes), default=0)

    @property
    def verified(self) -> bool:
        """Whether a real run stands behind `largest_batch_size`."""
        return self.largest_batch_size > 0

    @property
    def limited_by(self) -> str:
        """ "data" if even the whole training set fits as one batch, else "memory"."""
        return "data" if self.largest_batch_size >= self.n_train else "memory"

    def fits(self, batch_size: int) -> bool:
        """Whether a size may be trained: not above the largest that was found."""
        return batch_size <= self.largest_batch_size

    def predicted_bytes(self, batch_size: int) -> int | None:
        """Peak by the line; None without one."""
        return None if self.line is None else round(self.line.bytes(batch_size))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        line = self.line
        return {
            "intercept_bytes": None if line is None else round(line.intercept_bytes),
            "bytes_per_example": None if line is None else round(line.bytes_per_example, 1),
            "largest_residual": None if line is None else round(line.largest_residual, 5),
            "limit_bytes": self.limit.bytes,
            "limit_source": self.limit.source,
            "margin": self.margin,
            "loop": self.loop,
            "largest_batch_size": self.largest_batch_size,
            "limited_by": self.limited_by,
            "verified": self.verified,
            "probes": [
                {"batch_size": probe.batch_size, "fits": probe.fits, "peak_bytes": probe.peak_bytes}
                | ({"reason": probe.reason} if probe.reason else {})
                for probe in self.probes
            ],
        }


def margin_for(limit: MemoryLimit, *, has_batch_normalization: bool, loop: str) -> float:
    """Return the share of the limit to leave free.

    0.5 % of a limit that is kept on the very number that is measured, 10 % of memory that other programs use too or
    that an allocator fragments; 5 % more for batch normalisation and XLA, whose workspace jumps.
    """
    extra = EXTRA_MARGIN if has_batch_normalization or loop == "xla" else 0.0
    return (ENFORCED_MARGIN if limit.is_exact else MARGIN) + extra


def probe_memory(
    executor: Executor,
    limit: MemoryLimit,
    *,
    n_train: int,
    margin: float,
    loop: str = "keras",
    sizes: Sequence[int] | None = None,
    hyperparameters: Mapping[str, HyperparameterValue] | None = None,
    evaluation_batch_size: int = 256,
    bytes_per_example: int | None = None,
) -> MemoryFindings:
    """Try batch sizes until the largest that fits is known.

    Args:
        executor: Its workers should be held to the limit.
        limit: Memory that training may use.
        n_train: Training examples, or the largest size that anyone asks for.
        margin: Share of the limit that a predicted size leaves free; 5 % more if the line turns out to be bent and the
            workers are not held to the limit.
        loop: "keras", "device" or "xla".
        sizes: The only sizes that matter, ascending; None for any.
        hyperparameters: Values for the build function's `hp`, by name.
        evaluation_batch_size: Examples per validation step.
        bytes_per_example: More than the tensors of one example ever hold, which saves probes; None if not known.
    """
    tried: list[Tried] = []
    while True:
        extra = EXTRA_MARGIN if _is_bent(line_through(tried)) and not limit.is_exact else 0.0
        coming = (
            next_probe(
                tried,
                limit_bytes=limit.bytes,
                n_train=n_train,
                margin=margin + extra,
                bytes_per_example=bytes_per_example,
            )
            if sizes is None
            else next_of(tried, sizes)
        )
        if coming is None:
            return MemoryFindings(tuple(tried), limit, margin + extra, n_train, loop)
        request = MemoryProbeRequest(
            f"memory-{len(tried)}-{coming.batch_size}",
            coming.batch_size,
            loop=loop,
            hyperparameters=dict(hyperparameters or {}),
            evaluation_batch_size=evaluation_batch_size,
        )
        if coming.fresh:
            executor.shutdown()  # the next request starts a new worker
        tried.append(_read(ask_again(executor, request), coming.batch_size, limit))


def _is_bent(line: MemoryLine | None) -> bool:
    return line is not None and line.largest_residual >= LARGEST_RESIDUAL


def _read(answer: object, batch_size: int, limit: MemoryLimit) -> Tried:
    if isinstance(answer, MemoryProbe):
        peak = answer.peak_memory_bytes
        reason = "" if peak <= limit.bytes else f"its peak of {peak:,} bytes exceeds the limit of {limit.bytes:,} bytes"
        return Tried(batch_size, not reason, peak, reason, Status.OUT_OF_MEMORY if reason else Status.COMPLETED)
    assert isinstance(answer, TrialOutcome)
    return Tried(batch_size, fits=False, reason=answer.reason, status=answer.status)
