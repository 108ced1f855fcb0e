"""The workers of a search: started ahead, on this machine's devices or on a cluster, or this very process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuning.run.executor import (
    Executor,
    InlineExecutor,
    WorkerSetup,
    check_cores,
    device_names,
    gpus_of_this_machine,
)
from tuning.run.facts import this_process
from tuning.run.local import LocalExecutor
from tuning.run.starter import Starter
from tuning.search.options import LOCAL, RAY, SearchArguments, SearchOptions

if TYPE_CHECKING:
    from tuning.run.ray_cluster import Cluster, Demand


@contextmanager
def starting_workers(options: SearchOptions, *, holds_memory: bool = False) -> Iterator[Starter | None]:
    """Yield workers on this machine's devices that have just been started, not knowing yet what they will train.

    It is None where they run elsewhere.

    Args:
        options: How the search runs.
        holds_memory: As `running_executor` takes it.

    Raises:
        ValueError: If there are fewer devices than workers asked for, or fewer cores than threads.
    """
    if options.engine != LOCAL:
        yield None
        return
    check_cores("threads", options.threads)
    gpus = () if options.gpus_per_trial == 0 else gpus_of_this_machine()
    starter = Starter(
        device_names(options.workers, gpus, options.gpus_per_trial or 1),
        threads=options.threads,
        memory_limit_bytes=options.memory_limit_bytes,
        holds_memory=holds_memory,
        silence_limit_s=options.silence_timeout_s,
    )
    with closing(starter):
        yield starter


@contextmanager
def running_executor(
    hypermodel: Any,
    arguments: SearchArguments,
    options: SearchOptions,
    weights_directory: Path | None = None,
    *,
    holds_memory: bool = False,
    starter: Starter | None = None,
) -> Iterator[Executor]:
    """Yield workers on devices of this machine or of a cluster, or this very process, as the options say.

    They end on leaving.

    Args:
        hypermodel: A build function or a `keras_tuner.HyperModel`.
        arguments: The data, the callbacks, and further arguments of `fit`.
        options: How the search runs.
        weights_directory: Where the final weights of trials that keep them are put.
        holds_memory: Whether workers are ended where they exceed the memory that they tell, also where nobody asked
            for a limit; for probing how far one can go.
        starter: Has started the workers, with the same options; None to start them now.

    Raises:
        ValueError: If there are fewer devices than workers asked for, or the cluster cannot be used.
    """
    if options.in_process:
        with closing(_this_process(hypermodel, arguments, weights_directory)) as inline:
            yield inline
        return
    setup = WorkerSetup(
        hypermodel,
        data=arguments.data,
        callbacks=arguments.callbacks,
        fit_options=dict(arguments.fit_options),
        memory_limit_bytes=options.memory_limit_bytes,
        weights_directory=weights_directory,
        holds_memory=holds_memory,
    )
    with contextlib.ExitStack() as stack:
        if options.engine == RAY:
            yield stack.enter_context(closing(_on_cluster(setup, options)))
            return
        if starter is None:
            starter = stack.enter_context(starting_workers(options, holds_memory=holds_memory))
        assert starter is not None
        yield stack.enter_context(closing(LocalExecutor(setup, starter.devices, starter)))


def connected(options: SearchOptions) -> tuple[Cluster, Demand]:
    """Return a connection to the Ray cluster that the options name, and what a training takes of a node there.

    Raises:
        ValueError: If Ray is not installed, or there is no such cluster.
    """
    from tuning.run.ray_cluster import Cluster, Demand

    cluster = Cluster(options.ray_address)
    gpus = int(cluster.has_gpus) if options.gpus_per_trial is None else options.gpus_per_trial
    return cluster, Demand(options.cpus_per_trial or 1, gpus)


def _on_cluster(setup: WorkerSetup, options: SearchOptions) -> Executor:
    from tuning.run.ray_executor import RayExecutor

    cluster, demand = connected(options)
    return RayExecutor(setup, cluster, demand, workers=options.workers)


def _this_process(hypermodel: Any, arguments: SearchArguments, weights_directory: Path | None) -> Executor:
    from tuning.loops.session import TrainingSession

    session = TrainingSession(
        hypermodel,
        arguments.data,
        callbacks=arguments.callbacks,
        fit_options=dict(arguments.fit_options),
        weights_directory=weights_directory,
    )
    return InlineExecutor(session, this_process())
