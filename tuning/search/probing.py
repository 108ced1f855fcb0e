"""Run the whole probe of a workload, one measurement after another."""

from __future__ import annotations

from collections.abc import Callable

from search_spaces.workload import Workload
from tuning.machine.asking import ask_again
from tuning.machine.memory import margin_for, probe_memory
from tuning.machine.noise import NoiseFindings, probe_noise
from tuning.machine.throughput import KERAS, ThroughputFindings, probe_throughput, sizes_to_time
from tuning.messages import DescribeRequest, ModelDescription
from tuning.run.devices import device_names, visible_gpus
from tuning.run.executor import Executor
from tuning.run.memory_limit import MemoryLimit, find_memory_limit
from tuning.search.options import SearchArguments, SearchOptions
from tuning.search.starting import running_executor
from tuning.show.probe_page import Probe
from tuning.trial import TrialOutcome

_DESCRIBE_ID = "describe"


class ProbeError(ValueError):
    """A build function that builds nothing usable; the message is one line."""


def probe_workload(
    workload: Workload,
    *,
    epochs: int | None = None,
    memory_limit_bytes: int | None = None,
    loop: str = "auto",
    tell: Callable[[str], None] = lambda _: None,
) -> Probe:
    """Probe a workload in workers of its own on the first device, held to the memory limit.

    Args:
        workload: Model and data.
        epochs: Of the training that is to be searched; None for the workload's own.
        memory_limit_bytes: Memory that training may use; None for what there is.
        loop: The loop that trials would train with.
        tell: Told what is going on, one line at a time.

    Raises:
        ValueError: If the model or the data cannot be used, or the limit is not positive.
    """
    arguments = SearchArguments(workload.load_data(), workload.epochs if epochs is None else epochs)
    device = device_names(1, visible_gpus())[0]
    limit = find_memory_limit(device, memory_limit_bytes)
    held = limit.bytes if device.startswith("cpu") else None
    options = SearchOptions(workers=1, loop=loop, memory_limit_bytes=held)
    with running_executor(workload.build, arguments, options) as executor:
        return run_probe(
            executor,
            workload=workload.name,
            limit=limit,
            n_train=arguments.data.n_train,
            epochs=arguments.epochs,
            loop=loop,
            tell=tell,
        )


def run_probe(
    executor: Executor,
    *,
    workload: str,
    limit: MemoryLimit,
    n_train: int,
    epochs: int,
    loop: str = "auto",
    tell: Callable[[str], None] = lambda _: None,
) -> Probe:
    """Measure memory, then throughput up to the largest size that fits, then the gradient noise scale.

    Memory is measured with plain Keras unless a loop is asked for, because that is what a model is trained with in
    the end, and it needs the most.

    Args:
        executor: Its workers should be held to the limit.
        workload: Name, for people.
        limit: Memory that training may use.
        n_train: Training examples.
        epochs: Of the training that is to be searched.
        loop: The loop that trials would train with.
        tell: Told what is going on, one line at a time.

    Raises:
        ProbeError: If the model cannot be built or does not take the data.
    """
    description = ask_again(executor, DescribeRequest(_DESCRIBE_ID, {}))
    if isinstance(description, TrialOutcome):
        raise ProbeError(description.reason)
    assert isinstance(description, ModelDescription)
    tell(f"memory, up to {limit.bytes / 2**30:.1f} GiB ({limit.source})")
    normalizes = description.has_batch_normalization
    memory_loop = KERAS if loop == "auto" else loop
    margin = margin_for(limit, has_batch_normalization=normalizes, loop=memory_loop)
    memory = probe_memory(
        executor,
        limit,
        n_train=n_train,
        margin=margin,
        loop=memory_loop,
        bytes_per_example=description.tensor_bytes_per_example,
    )
    if not memory.verified:
        return Probe(workload, executor.devices[0], memory, ThroughputFindings((), {}), NoiseFindings(), normalizes)
    sizes = sizes_to_time(memory.largest_batch_size)
    tell(f"throughput at batch sizes {', '.join(map(str, sizes))}")
    throughput = probe_throughput(executor, sizes, loop=loop, epochs=epochs)
    tell("gradient noise scale")
    plain = throughput.line(KERAS)
    noise = probe_noise(
        executor,
        n_train=n_train,
        epochs=epochs,
        seconds_per_update=None if plain is None else plain.seconds(32),
        largest_batch_size=memory.largest_batch_size,
    )
    return Probe(workload, executor.devices[0], memory, throughput, noise, normalizes)
