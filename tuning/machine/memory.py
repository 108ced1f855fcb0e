"""Find the largest batch size that fits, by trainings of a few updates in workers of their own."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from search_spaces.data import leaves
from search_spaces.stream import TrainingData
from tuning.machine.memory_ladder import Tried, fitting, line_through, next_of, next_probe
from tuning.messages import Measurement, MemoryProbe, MemoryProbeRequest, ModelDescription
from tuning.run.asking import PATIENCE_S, ask_again, first_device, is_overdue
from tuning.run.executor import Executor
from tuning.run.memory_limit import MemoryLimit
from tuning.stats.forecast import LARGEST_MEMORY_RESIDUAL, MemoryLine
from tuning.trial import HyperparameterValue, Status, TrialOutcome

ENFORCED_MARGIN = 0.005
MARGIN = 0.10
EXTRA_MARGIN = 0.05
_LEAST_PATIENCE_S = 60.0
_PATIENCE_TIMES = 4


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

    @property
    def measurement(self) -> Measurement:
        """What the record shows of it."""
        values = {"largest_batch_size": float(self.largest_batch_size), "memory_limit_bytes": float(self.limit.bytes)}
        if (line := self.line) is not None:
            values["memory_intercept_bytes"] = line.intercept_bytes
            values["memory_bytes_per_example"] = line.bytes_per_example
        peaks = [(probe.batch_size, probe.peak_bytes) for probe in self.probes]
        return Measurement(
            "memory",
            params={"loop": self.loop, "memory_limit_source": self.limit.source, "memory_margin": self.margin},
            values=values,
            series=tuple(("peak_memory_bytes", float(peak), size) for size, peak in peaks if peak),
        )

    def to_record(self) -> dict[str, Any]:
        """Return plain JSON values; `from_record` reads them."""
        return asdict(self)

    @classmethod
    def from_record(cls, values: Mapping[str, Any]) -> MemoryFindings:
        """Return what `to_record` wrote."""
        probes = tuple(Tried(**{**probe, "status": Status(probe["status"])}) for probe in values["probes"])
        return cls(**{**values, "probes": probes, "limit": MemoryLimit(**values["limit"])})

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
    now: Callable[[], float] = time.monotonic,
) -> MemoryFindings:
    """Try batch sizes until the largest that fits is known, those alone that the cards of a device share equally.

    Near the limit of a GPU the first update can take minutes: XLA tries every plan of a convolution, and TensorFlow's
    allocator waits ten seconds for the workspace of each that has no room. A size whose probe takes four times as long
    as the longest before it, and a minute at least, does not fit there.

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
        now: The clock, in seconds.
    """
    tried: list[Tried] = []
    device = first_device(executor)
    cards, longest_s = device.cards, 0.0
    n_train -= n_train % cards
    while True:
        extra = EXTRA_MARGIN if _is_bent(line_through(tried)) and not limit.is_exact else 0.0
        coming = (
            next_probe(
                tried,
                limit_bytes=limit.bytes,
                n_train=n_train,
                margin=margin + extra,
                bytes_per_example=bytes_per_example,
                adapts=device.is_gpu,
            )
            if sizes is None
            else next_of(tried, sizes)
        )
        size = 0 if coming is None else max(cards, coming.batch_size - coming.batch_size % cards)
        if coming is None or any(probe.batch_size == size for probe in tried):
            return MemoryFindings(tuple(tried), limit, margin + extra, n_train, loop)
        request = MemoryProbeRequest(
            f"memory-{len(tried)}-{size}",
            size,
            loop=loop,
            hyperparameters=dict(hyperparameters or {}),
            evaluation_batch_size=evaluation_batch_size,
        )
        if coming.fresh:
            executor.renew(first_device(executor).name)
        is_near = device.is_gpu and bool(tried)
        patience_s = max(_LEAST_PATIENCE_S, _PATIENCE_TIMES * longest_s) if is_near else PATIENCE_S
        begin = now()
        answer = ask_again(executor, request, patience_s=patience_s, now=now)
        longest_s = max(longest_s, now() - begin)
        tried.append(_read(answer, size, limit))


def _is_bent(line: MemoryLine | None) -> bool:
    return line is not None and line.largest_residual >= LARGEST_MEMORY_RESIDUAL


def _read(answer: object, batch_size: int, limit: MemoryLimit) -> Tried:
    if isinstance(answer, MemoryProbe):
        peak, first = answer.peak_memory_bytes, answer.first_peak_memory_bytes or 0
        reason = "" if peak <= limit.bytes else f"its peak of {peak:,} bytes exceeds the limit of {limit.bytes:,} bytes"
        if not reason and first > limit.bytes:
            reason = f"its first update takes {first:,} bytes, more than the limit of {limit.bytes:,} bytes"
        return Tried(batch_size, not reason, peak, reason, Status.OUT_OF_MEMORY if reason else Status.COMPLETED)
    assert isinstance(answer, TrialOutcome)
    if is_overdue(answer):
        reason = f"{answer.reason} Near its limit TensorFlow waits ten seconds for each workspace that has no room."
        return Tried(batch_size, fits=False, reason=reason, status=Status.OUT_OF_MEMORY)
    return Tried(batch_size, fits=False, reason=answer.reason, status=answer.status)


_RUNTIME_BYTES = 2 * 2**30  # TensorFlow, Keras and the workspaces of a small model come to 0.8 to 1.2 GiB (measured)
_BYTES_PER_PARAMETER = 64  # weight, gradient and slots in float32 are 16 to 20
_WORKSPACES = 2  # kernels may need as much again as the tensors, none of which is ever freed in this estimate
_LEAST_BYTES_PER_EXAMPLE = 8 * 2**20  # where the tensors are not known
_ACTIVATIONS_PER_INPUT = 10_000  # 25 to 300 for convolutions on images (measured), about 6,500 for small transformers
_LOOP = "keras"  # on a CPU it needs the most: it holds several batches ready


def could_run_out(largest: int, data: TrainingData, description: ModelDescription, limit_bytes: int) -> bool:
    """Whether a pessimistic estimate of the peak at the largest batch size exceeds the limit.

        2 GiB + 64 bytes per parameter + the data twice + B * 2 * bytes of all tensors of one example

    Where the tensors are not known, 8 MiB and 10,000 times the bytes of one example take their place, whichever is
    more. It errs on the side of asking, which costs seconds.
    """
    every = [leaf for part in data.parts().values() for leaf in leaves(part)]
    held = 2 * sum(leaf.nbytes for leaf in every) + _BYTES_PER_PARAMETER * description.parameters
    return _RUNTIME_BYTES + held + largest * _bytes_per_example(data, description) > limit_bytes


def _bytes_per_example(data: TrainingData, description: ModelDescription) -> float:
    if description.tensor_bytes_per_example is not None:
        return float(_WORKSPACES * description.tensor_bytes_per_example)
    one = sum(leaf.nbytes for leaf in leaves(data.parts().get("x_train"))) / data.n_train
    return max(_LEAST_BYTES_PER_EXAMPLE, _ACTIVATIONS_PER_INPUT * one)


def memory_of_search(
    executor: Executor,
    limit: MemoryLimit,
    *,
    sizes: Sequence[int],
    data: TrainingData,
    description: ModelDescription,
    hyperparameters: Mapping[str, HyperparameterValue] | None = None,
    evaluation_batch_size: int = 256,
    loop: str = _LOOP,
) -> MemoryFindings | None:
    """What fits of a search's batch sizes; None if nothing could fail to, or it could not be learnt.

    The smallest and the largest are tried; if the largest does not fit, the others are bisected.

    Args:
        executor: All its devices are idle.
        limit: Memory that a worker may use.
        sizes: The search's batch sizes, ascending.
        data: What it trains on.
        description: The model.
        hyperparameters: Values for the build function's `hp`, by name.
        evaluation_batch_size: Examples per validation step.
        loop: That of the trials. A GPU is probed with it, since it holds the data or not as the loop wants; a CPU with
            Keras's own, which needs the most.

    Raises:
        ValueError: If not even the smallest size fits.
    """
    loop = loop if first_device(executor).is_gpu else _LOOP
    largest = sizes[-1]
    if not could_run_out(largest, data, description, limit.bytes):
        return None
    margin = margin_for(limit, has_batch_normalization=description.has_batch_normalization, loop=loop)
    found = probe_memory(
        executor,
        limit,
        n_train=largest,
        margin=margin,
        loop=loop,
        sizes=sizes,
        hyperparameters=hyperparameters,
        evaluation_batch_size=evaluation_batch_size,
    )
    if found.largest_batch_size < largest:
        for device in executor.devices():
            executor.renew(device.name)  # trials start in workers that have not been at the limit
    if any(probe.status is Status.FAILED for probe in found.probes):
        return None  # something else is wrong with the training; the trials will tell what
    if not found.verified:
        raise ValueError(
            f"The smallest batch size, {sizes[0]}, must fit into memory; {found.probes[-1].reason} "
            f"(limit {limit.bytes:,} bytes, {limit.source}). Try smaller ones, or raise the limit."
        )
    return found
