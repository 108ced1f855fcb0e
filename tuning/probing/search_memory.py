"""Before a search: does its largest batch size fit? Asked of a worker only where the answer might be no."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from search_spaces.data import Data, leaves
from tuning.execution.executor import Executor
from tuning.execution.memory_limit import MemoryLimit, find_memory_limit
from tuning.probes import ModelDescription
from tuning.probing.memory import MemoryFindings, margin_for, probe_memory
from tuning.trial import HyperparameterValue, Status, TrialOutcome

_RUNTIME_BYTES = 2 * 2**30  # TensorFlow, Keras and the workspaces of a small model come to 0.8 to 1.2 GiB (measured)
_BYTES_PER_PARAMETER = 64  # weight, gradient and slots in float32 are 16 to 20
_WORKSPACES = 2  # kernels may need as much again as the tensors, none of which is ever freed in this estimate
_LEAST_BYTES_PER_EXAMPLE = 8 * 2**20  # where the tensors are not known
_ACTIVATIONS_PER_INPUT = 10_000  # 25 to 300 for convolutions on images (measured), about 6,500 for small transformers
_LOOP = "keras"  # needs the most: it holds several batches ready


def could_run_out(largest: int, data: Data, description: ModelDescription, limit_bytes: int) -> bool:
    """Whether a pessimistic estimate of the peak at the largest batch size exceeds the limit.

        2 GiB + 64 bytes per parameter + the data twice + B * 2 * bytes of all tensors of one example

    Where the tensors are not known, 8 MiB and 10,000 times the bytes of one example take their place, whichever is
    more. It errs on the side of asking, which costs seconds.
    """
    every = [leaf for part in data.parts().values() for leaf in leaves(part)]
    held = 2 * sum(leaf.nbytes for leaf in every) + _BYTES_PER_PARAMETER * description.parameters
    return _RUNTIME_BYTES + held + largest * _bytes_per_example(data, description) > limit_bytes


def _bytes_per_example(data: Data, description: ModelDescription) -> float:
    if description.tensor_bytes_per_example is not None:
        return float(_WORKSPACES * description.tensor_bytes_per_example)
    one = sum(leaf.nbytes for leaf in leaves(data.x_train)) / data.n_train
    return max(_LEAST_BYTES_PER_EXAMPLE, _ACTIVATIONS_PER_INPUT * one)


def limit_of_search(executor: Executor, asked_bytes: int | None) -> MemoryLimit:
    """The memory that each worker of a search may use: workers on one CPU share what there is."""
    device = executor.devices[0]
    limit = find_memory_limit(device, asked_bytes)
    if limit.is_exact or not device.startswith("cpu"):
        return limit
    return replace(limit, bytes=limit.bytes // len(executor.devices))


def memory_of_search(
    executor: Executor,
    limit: MemoryLimit,
    *,
    sizes: Sequence[int],
    data: Data,
    description: ModelDescription,
    hyperparameters: Mapping[str, HyperparameterValue] | None = None,
    evaluation_batch_size: int = 256,
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

    Raises:
        ValueError: If not even the smallest size fits.
    """
    largest = sizes[-1]
    if not could_run_out(largest, data, description, limit.bytes):
        return None
    margin = margin_for(limit, has_batch_normalization=description.has_batch_normalization, loop=_LOOP)
    found = probe_memory(
        executor,
        limit,
        n_train=largest,
        margin=margin,
        loop=_LOOP,
        sizes=sizes,
        hyperparameters=hyperparameters,
        evaluation_batch_size=evaluation_batch_size,
    )
    if found.largest_batch_size < largest:
        executor.shutdown()  # trials start in workers that have not been at the limit
    if any(probe.status is Status.FAILED for probe in found.probes):
        return None  # something else is wrong with the training; the trials will tell what
    if not found.verified:
        raise ValueError(
            f"The smallest batch size, {sizes[0]}, must fit into memory; {found.probes[-1].reason} "
            f"(limit {limit.bytes:,} bytes, {limit.source}). Try smaller ones, or raise the limit."
        )
    return found


def as_outcome(trial_id: str, found: MemoryFindings) -> TrialOutcome:
    """The findings as what a run of stage "probe" measured."""
    line = found.line
    fitted = (
        {}
        if line is None
        else {
            "memory_intercept_bytes": line.intercept_bytes,
            "memory_bytes_per_example": line.bytes_per_example,
        }
    )
    return TrialOutcome(
        trial_id,
        Status.COMPLETED,
        measurements={
            "largest_batch_size": float(found.largest_batch_size),
            "memory_limit_bytes": float(found.limit.bytes),
            **fitted,
        },
        loop=found.loop,
        settings={"memory_limit_source": found.limit.source, "memory_margin": found.margin},
    )
