"""Run the whole probe of a workload, one measurement after another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from search_spaces.learning_rate import LearningRate
from search_spaces.workload import Workload
from tuning.loops.loop import AUTO, KERAS
from tuning.machine.branching import REPEATS, Branching, probe_branching, sizes_to_branch
from tuning.machine.inference import probe_inference
from tuning.machine.machine import Machine
from tuning.machine.measuring import series_of_user
from tuning.machine.memory import margin_for, probe_memory
from tuning.machine.noise import BATCH_SIZE, probe_noise
from tuning.machine.throughput import KERAS as KERAS_SERIES
from tuning.machine.throughput import probe_throughput, sizes_to_time
from tuning.messages import DescribeRequest, ModelDescription
from tuning.run.asking import ask_again, first_device
from tuning.run.executor import Executor
from tuning.run.of_kind import of_kind
from tuning.run.starter import Starter
from tuning.search.options import SearchArguments, SearchOptions
from tuning.search.placing import kind_to_measure
from tuning.search.workers import running_executor
from tuning.show.inference_page import InferenceProbe
from tuning.show.probe_page import Probe
from tuning.stats.branching import BranchedSize
from tuning.trial import TrialOutcome

if TYPE_CHECKING:
    from tuning.run.ray_starter import RayStarter

_DESCRIBE_ID = "describe"
_NOISE_PATIENCE_S = 10.0


class ProbeError(ValueError):
    """A build function that builds nothing usable; the message is one line."""


def probe_workload(
    workload: Workload,
    options: SearchOptions,
    *,
    epochs: int | None = None,
    branches: bool = False,
    tell: Callable[[str], None] = lambda _: None,
    starter: Starter | RayStarter | None = None,
) -> Probe:
    """Probe a workload in a worker of its own, held to the memory limit.

    Args:
        workload: Model and data.
        options: One worker, the loop that trials would train with, and the memory that training may use.
        epochs: Epochs of the training that is to be searched; None for the workload's own.
        branches: Whether to measure the critical batch size by branching, too.
        tell: Told what is going on, one line at a time.
        starter: Has started the worker with these options; None to start it now.

    Raises:
        ValueError: If the model or the data cannot be used.
    """
    arguments = SearchArguments(workload.load_data(), workload.epochs if epochs is None else epochs)
    with running_executor(workload.build, arguments, options, holds_memory=True, starter=starter) as executor:
        return run_probe(
            _on_kind(executor, options),
            workload=workload.name,
            n_train=arguments.data.epoch_length,
            epochs=arguments.epochs,
            loop=options.loop,
            branches=branches,
            tell=tell,
        )


def run_probe(
    executor: Executor,
    *,
    workload: str,
    n_train: int,
    epochs: int,
    loop: str = AUTO,
    branches: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> Probe:
    """Measure memory, then throughput up to the largest size that fits, then the gradient noise scale.

    Memory is measured with plain Keras unless a loop is asked for, because that is what a model is trained with in
    the end, and it needs the most.

    Args:
        executor: Its workers should be held to the limit that they tell.
        workload: Its name, for people.
        n_train: Training examples.
        epochs: Epochs of the training that is to be searched.
        loop: The loop that trials would train with.
        branches: Whether to measure the critical batch size by branching, too.
        tell: Told what is going on, one line at a time.

    Raises:
        ProbeError: If the model cannot be built or does not take the data.
    """
    model = _described(executor)
    device = first_device(executor)
    branching: Branching | None = None
    machine = _with_memory(executor, model, n_train, KERAS if loop == AUTO else loop, tell)
    if machine.memory is not None and machine.memory.verified:
        executor.renew(device.name)  # the last one is at the limit, where a small batch may be one too many
        sizes = sizes_to_time(machine.memory.largest_batch_size, device.cards)
        tell(f"throughput at batch sizes {', '.join(map(str, sizes))}")
        timed = probe_throughput(executor, sizes, loop=loop, epochs=epochs)
        machine = replace(machine, throughput=timed, user_series=series_of_user(loop))
        tell("gradient noise scale")
        machine = _with_noise(machine, executor, n_train, epochs)
        if branches:
            branching = _branching(executor, machine, model, n_train * epochs // 2, tell)
    return Probe(workload, device.name, machine, n_train, model.has_batch_normalization, branching)


def probe_inference_of(
    workload: Workload,
    options: SearchOptions,
    *,
    latency_s: float | None = None,
    tell: Callable[[str], None] = lambda _: None,
    starter: Starter | RayStarter | None = None,
) -> InferenceProbe:
    """Probe the inference of a workload, and nothing else, in a worker of its own, held to the memory limit.

    Args:
        workload: Model and data.
        options: One worker, and the memory that inference may use.
        latency_s: The bound on the p95 latency of a call; None for none.
        tell: Told what is going on, one line at a time.
        starter: Has started the worker with these options; None to start it now.

    Raises:
        ValueError: If the model or the data cannot be used.
    """
    arguments = SearchArguments(workload.load_data(), workload.epochs)
    data = arguments.data
    with running_executor(workload.build, arguments, options, holds_memory=True, starter=starter) as executor:
        return run_inference_probe(
            _on_kind(executor, options),
            workload=workload.name,
            n_examples=data.n_train + data.n_val,
            latency_s=latency_s,
            tell=tell,
        )


def _on_kind(executor: Executor, options: SearchOptions) -> Executor:
    """Return an executor with the devices of the kind that is asked for; all, if none is."""
    kind = options.device_kind
    return executor if kind is None else of_kind(executor, kind_to_measure(executor, kind, None))


def run_inference_probe(
    executor: Executor,
    *,
    workload: str,
    n_examples: int,
    latency_s: float | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> InferenceProbe:
    """Measure inference by batch size in a worker that has not trained: describing a model trains a batch.

    Args:
        executor: Its workers should be held to the limit that they tell.
        workload: Its name, for people.
        n_examples: The examples of the data, of training and validation.
        latency_s: The bound on the p95 latency of a call; None for none.
        tell: Told what is going on, one line at a time.

    Raises:
        ProbeError: If the model cannot be built or does not take the data.
    """
    _described(executor)
    device = first_device(executor)
    executor.renew(device.name)
    found = probe_inference(executor, n_examples=n_examples, bound_s=latency_s, tell=tell)
    return InferenceProbe(workload, device.name, found)


def _described(executor: Executor) -> ModelDescription:
    model = ask_again(executor, DescribeRequest(_DESCRIBE_ID, {}))
    if isinstance(model, TrialOutcome):
        raise ProbeError(model.reason)
    assert isinstance(model, ModelDescription)
    return model


def _with_memory(
    executor: Executor, model: ModelDescription, n_train: int, loop: str, tell: Callable[[str], None]
) -> Machine:
    limit = first_device(executor).memory
    tell(f"memory, up to {limit.bytes / 2**30:.1f} GiB ({limit.source})")
    memory = probe_memory(
        executor,
        limit,
        n_train=n_train,
        margin=margin_for(limit, has_batch_normalization=model.has_batch_normalization, loop=loop),
        loop=loop,
        bytes_per_example=model.tensor_bytes_per_example,
    )
    return Machine(memory_is_known=True, memory=memory)


def _with_noise(machine: Machine, executor: Executor, n_train: int, epochs: int) -> Machine:
    """Measure along plain Keras at batch size 32, or the largest that fits if that is less."""
    size = max(1, min(BATCH_SIZE, n_train, machine.largest_batch_size or n_train))
    plain = None if machine.throughput is None else machine.throughput.line(KERAS_SERIES)
    noise = probe_noise(
        executor,
        batch_size=size,
        updates=epochs * n_train // size,
        seconds_per_update=None if plain is None else plain.seconds(size),
        patience_s=_NOISE_PATIENCE_S,
    )
    return replace(machine, noise=noise)


def _branching(
    executor: Executor, machine: Machine, model: ModelDescription, examples: int, tell: Callable[[str], None]
) -> Branching:
    """Branch plain Keras from the middle of the training, at the rates that the model's own rule gives."""
    if model.learning_rate is None or model.schedule or model.has_own_loop:
        what = "a loop of its own" if model.has_own_loop else "a schedule of learning rates"
        return Branching(BranchedSize(reason=f"the model has {what}"))
    assert machine.memory is not None
    cards = first_device(executor).cards
    smallest = -(-BATCH_SIZE // cards) * cards
    sizes = sizes_to_branch(smallest, machine.memory.largest_batch_size, examples)
    rate = LearningRate()
    rates = {
        size: rate.centre(size, optimizer=model.optimizer_kind or model.optimizer, model_rate=model.learning_rate)
        for size in sizes
    }
    told = f"{REPEATS} branches at each of batch sizes {', '.join(map(str, sizes))}"
    tell(f"{told}: {(1 + REPEATS * len(sizes)) * examples:,} examples in all")
    return probe_branching(executor, rates=rates, examples=examples)
